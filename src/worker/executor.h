// The threads of a worker that run handlers, at most as many at a time as its capacity.
#ifndef SNAKEPIT_WORKER_EXECUTOR_H_
#define SNAKEPIT_WORKER_EXECUTOR_H_

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <string>
#include <thread>

#include "src/base/mutex.h"

namespace snakepit {

// Most jobs that wait for their turn. A pool that keeps to the capacity needs none. PROTOCOL.md
// 6.8.3.
inline constexpr size_t kMaxWaitingJobs = 1024;

// All threads but one end when they have been idle for so long.
inline constexpr std::chrono::seconds kIdleThreadLimit{5};

// Runs jobs in the order of their arrival, up to a number at a time, and tasks besides. It makes
// threads when it needs them. Usable from any thread.
class Executor {
 public:
  explicit Executor(int max_running,
                    std::chrono::steady_clock::duration idle_limit = kIdleThreadLimit)
      : max_running_(static_cast<size_t>(max_running)), idle_limit_(idle_limit) {}
  // Waits for the jobs that run, and drops those that wait.
  ~Executor();

  // Lets the calling thread run a job itself, if no job runs and none waits. EndHere ends that. If
  // jobs have come meanwhile and the system gives no thread for them, EndHere runs them.
  bool TryBeginHere();
  void EndHere();

  enum class Outcome { kTaken, kFull, kNoThread };

  // kFull when kMaxWaitingJobs wait. kNoThread when the system gives no thread and no job runs or
  // is about to. In both cases the job is not run.
  [[nodiscard]] Outcome Submit(std::function<void()> job);

  // Runs a task at once, however many jobs run. False when the system gives no thread.
  [[nodiscard]] bool Start(std::function<void()> task);

  // Number of jobs that run or wait.
  size_t in_flight() const;
  // Number of its own threads.
  size_t threads() const;

  // Waits until no job runs or waits.
  void WaitUntilIdle();
  // False when that takes longer.
  bool WaitUntilIdle(std::chrono::steady_clock::duration limit);

 private:
  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return running_ == 0 && waiting_.empty();
  }
  // True if no more jobs may run. A thread on its way to a job counts as one that runs it.
  bool IsFull() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return running_ + (coming_ - tasks_.size()) >= max_running_;
  }
  bool HaveThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Runs the job that has waited longest. `lock` holds mutex_, but not while the job runs; the
  // analysis cannot follow that in a function.
  void RunJob(MutexLock& lock) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  // False when the thread has waited in vain and is to end.
  bool AwaitWork(MutexLock& lock) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void ThreadMain(std::list<std::thread>::iterator self);

  const size_t max_running_;
  const std::chrono::steady_clock::duration idle_limit_;
  mutable Mutex mutex_;
  CondVar work_;
  CondVar idle_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  // Jobs that run, here and on threads.
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  // Threads that wait for work and were not woken.
  size_t sleeping_ ABSL_GUARDED_BY(mutex_) = 0;
  // Threads that were woken and do not run yet.
  size_t wakes_ ABSL_GUARDED_BY(mutex_) = 0;
  // The woken threads, and new ones that do not run yet: one for each task, or for a job.
  size_t coming_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  // Threads still to be joined, which takes no time.
  std::list<std::thread> ended_ ABSL_GUARDED_BY(mutex_);
};

// Tells the caller why the job of its call was not taken.
std::string DescribeRefusal(Executor::Outcome outcome, int capacity);

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_EXECUTOR_H_
