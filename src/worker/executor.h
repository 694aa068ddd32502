// The threads of a worker: those that run handlers, at most as many at a time as its capacity.
#ifndef SNAKEPIT_SRC_WORKER_EXECUTOR_H_
#define SNAKEPIT_SRC_WORKER_EXECUTOR_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace snakepit {

// Jobs that wait for their turn, at most; a pool that keeps to the capacity needs none.
// PROTOCOL.md 6.8.3.
inline constexpr size_t kMaxWaitingJobs = 1024;

// Threads that have had nothing to do for so long end, all but one.
inline constexpr std::chrono::seconds kIdleThreadLimit{5};

// Runs jobs in the order of their arrival, up to a number at a time, and tasks besides. Threads are
// made when needed. Usable from any thread.
class Executor {
 public:
  explicit Executor(int max_running,
                    std::chrono::steady_clock::duration idle_limit = kIdleThreadLimit)
      : max_running_(static_cast<size_t>(max_running)), idle_limit_(idle_limit) {}
  // Waits for what runs; jobs that wait are dropped.
  ~Executor();

  // Takes a place among the jobs that run for the calling thread, if none runs and none waits.
  // EndHere gives it back; where jobs came meanwhile and the system gives no thread, it runs them.
  bool TryBeginHere();
  void EndHere();

  enum class Outcome { kTaken, kFull, kNoThread };

  // kFull when kMaxWaitingJobs wait, kNoThread when the system gives no thread and no job runs or
  // is about to: then the job is not run.
  [[nodiscard]] Outcome Submit(std::function<void()> job);

  // Runs a task at once, whatever jobs run. False when the system gives no thread.
  [[nodiscard]] bool Start(std::function<void()> task);

  // Jobs that run or wait.
  size_t in_flight() const;
  // Its own threads.
  size_t threads() const;

  // Waits until there are none.
  void WaitUntilIdle();
  // False when that takes longer.
  bool WaitUntilIdle(std::chrono::steady_clock::duration limit);

 private:
  // With mutex_ locked.
  bool IsIdle() const { return running_ == 0 && waiting_.empty(); }
  // Whether as many jobs run as may, threads counted that are on their way to one.
  bool IsFull() const { return running_ + (coming_ - tasks_.size()) >= max_running_; }
  bool HaveThread();
  // Runs the job that has waited longest, with mutex_ unlocked meanwhile.
  void RunJob(std::unique_lock<std::mutex>& lock);
  // False when the thread is to end, having waited in vain.
  bool AwaitWork(std::unique_lock<std::mutex>& lock);

  void ThreadMain(std::list<std::thread>::iterator self);

  const size_t max_running_;
  const std::chrono::steady_clock::duration idle_limit_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::deque<std::function<void()>> waiting_;
  std::deque<std::function<void()>> tasks_;
  size_t running_ = 0;   // jobs, here and on threads
  size_t sleeping_ = 0;  // threads that wait for work and were not woken
  size_t wakes_ = 0;     // threads that were woken and do not run yet
  size_t coming_ = 0;    // those, and new ones that do not: one for each task, or for a job
  bool stopping_ = false;
  std::list<std::thread> threads_;
  std::list<std::thread> ended_;  // still to be joined, which takes no time
};

// Why the job of a call was not taken, for its caller.
std::string DescribeRefusal(Executor::Outcome outcome, int capacity);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_EXECUTOR_H_
