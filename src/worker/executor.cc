#include "src/worker/executor.h"

#include <system_error>
#include <utility>

namespace snakepit {

Executor::~Executor() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    waiting_.clear();
    tasks_.clear();
  }
  work_.notify_all();
  // No thread ends by itself any more, so neither list changes.
  for (std::thread& thread : threads_) thread.join();
  for (std::thread& thread : ended_) thread.join();
}

bool Executor::TryBeginHere() {
  const MutexLock lock(mutex_);
  if (!IsIdle()) return false;
  ++running_;
  return true;
}

void Executor::EndHere() {
  MutexLock lock(mutex_);
  --running_;
  while (!waiting_.empty() && !IsFull() && !HaveThread()) RunJob(lock);
  if (IsIdle()) idle_.notify_all();
}

Executor::Outcome Executor::Submit(std::function<void()> job) {
  const MutexLock lock(mutex_);
  if (waiting_.size() >= kMaxWaitingJobs + max_running_) return Outcome::kFull;
  waiting_.push_back(std::move(job));
  if (IsFull() || HaveThread()) return Outcome::kTaken;
  // A thread that runs a job, or is on its way to one, takes this one later.
  if (running_ > 0 || coming_ > tasks_.size()) return Outcome::kTaken;
  waiting_.pop_back();
  return Outcome::kNoThread;
}

bool Executor::Start(std::function<void()> task) {
  const MutexLock lock(mutex_);
  tasks_.push_back(std::move(task));
  if (HaveThread()) return true;
  tasks_.pop_back();
  return false;
}

size_t Executor::in_flight() const {
  const MutexLock lock(mutex_);
  return running_ + waiting_.size();
}

size_t Executor::threads() const {
  const MutexLock lock(mutex_);
  return threads_.size();
}

void Executor::WaitUntilIdle() {
  MutexLock lock(mutex_);
  idle_.wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return IsIdle(); });
}

bool Executor::WaitUntilIdle(std::chrono::steady_clock::duration limit) {
  MutexLock lock(mutex_);
  return idle_.wait_for(lock, limit,
                        [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return IsIdle(); });
}

// Wakes a thread, or makes one. False when the system gives none.
bool Executor::HaveThread() {
  if (sleeping_ > 0) {
    --sleeping_;
    ++wakes_;
    ++coming_;
    work_.notify_one();
    return true;
  }
  if (stopping_) return false;
  for (std::thread& thread : ended_) thread.join();
  ended_.clear();
  const auto place = threads_.emplace(threads_.end());
  try {
    *place = std::thread([this, place] { ThreadMain(place); });
    ++coming_;
    return true;
  } catch (const std::system_error&) {
    threads_.erase(place);
    return false;
  }
}

void Executor::RunJob(MutexLock& lock) {
  auto job = std::move(waiting_.front());
  waiting_.pop_front();
  ++running_;
  lock.unlock();
  job();
  job = nullptr;
  lock.lock();
  --running_;
}

bool Executor::AwaitWork(MutexLock& lock) {
  ++sleeping_;
  const auto awake = [this]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return wakes_ > 0 || stopping_; };
  while (!work_.wait_for(lock, idle_limit_, awake)) {
    // One thread stays, and then sleeps as long as there is no work.
    if (sleeping_ > 1) {
      --sleeping_;
      return false;
    }
    work_.wait(lock, awake);
  }
  if (wakes_ > 0) {
    --wakes_;
    --coming_;
  }
  return true;
}

void Executor::ThreadMain(std::list<std::thread>::iterator self) {
  MutexLock lock(mutex_);
  --coming_;
  while (!stopping_) {
    if (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    } else if (!waiting_.empty() && running_ < max_running_) {
      RunJob(lock);
      if (IsIdle()) idle_.notify_all();
    } else if (!AwaitWork(lock)) {
      ended_.splice(ended_.end(), threads_, self);
      return;
    }
  }
}

std::string DescribeRefusal(Executor::Outcome outcome, int capacity) {
  if (outcome == Executor::Outcome::kNoThread) {
    return "the system gives the worker no thread for the call: raise its limit of processes or "
           "memory";
  }
  return "too many calls: the worker runs " + std::to_string(capacity) + " at a time";
}

}  // namespace snakepit
