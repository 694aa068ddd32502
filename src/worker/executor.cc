#include "src/worker/executor.h"

#include <system_error>
#include <utility>

namespace snakepit {

Executor::~Executor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
    tasks_.clear();
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Executor::TryBeginHere() {
  std::lock_guard lock(mutex_);
  if (!IsIdle()) return false;
  ++running_;
  return true;
}

void Executor::EndHere() {
  std::lock_guard lock(mutex_);
  EndJob();
}

bool Executor::Submit(std::function<void()> job) {
  std::lock_guard lock(mutex_);
  if (waiting_.size() >= kMaxWaitingJobs + max_running_) return false;
  waiting_.push_back(std::move(job));
  if (running_ >= max_running_ || HaveThread()) return true;
  // A thread that runs a job takes this one later.
  if (running_threads_ > 0) return true;
  waiting_.pop_back();
  return false;
}

bool Executor::Start(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  if (HaveThread()) return true;
  tasks_.pop_back();
  return false;
}

size_t Executor::in_flight() const {
  std::lock_guard lock(mutex_);
  return running_ + waiting_.size();
}

void Executor::WaitUntilIdle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return IsIdle(); });
}

bool Executor::WaitUntilIdle(std::chrono::steady_clock::duration limit) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, limit, [this] { return IsIdle(); });
}

// Wakes a thread, or makes one.
bool Executor::HaveThread() {
  if (sleeping_ > 0) {
    --sleeping_;
    ++wakes_;
    work_.notify_one();
    return true;
  }
  try {
    threads_.emplace_back([this] { ThreadMain(); });
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

void Executor::EndJob() {
  --running_;
  if (IsIdle()) {
    idle_.notify_all();
  } else if (!waiting_.empty() && running_ < max_running_) {
    HaveThread();
  }
}

void Executor::ThreadMain() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    } else if (!waiting_.empty() && running_ < max_running_) {
      auto job = std::move(waiting_.front());
      waiting_.pop_front();
      ++running_;
      ++running_threads_;
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
      --running_threads_;
      --running_;
      if (IsIdle()) idle_.notify_all();
    } else {
      ++sleeping_;
      work_.wait(lock, [this] { return wakes_ > 0 || stopping_; });
      if (wakes_ > 0) --wakes_;
    }
  }
}

}  // namespace snakepit
