// The load of `snakepit demo` under which a worker is killed.
#ifndef SNAKEPIT_CLI_LOAD_H_
#define SNAKEPIT_CLI_LOAD_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/mutex.h"
#include "src/cli/interrupts.h"

namespace snakepit {

// Calls without pause from several threads, and their outcomes.
class Load {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  struct FailedCall {
    Error error;
    pid_t pid = 0;  // its worker
  };
  struct Outcome {
    int64_t ok = 0;
    std::vector<FailedCall> failed;
    // The first answer of a process that was not there at the start.
    pid_t new_pid = 0;
    std::optional<SteadyTime> new_answered_at;
  };

  // Begins the calls. `old_pids`: the workers' present processes.
  Load(Pool& pool, Interrupts& interrupts, int threads, std::vector<pid_t> old_pids);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Waits until `calls` more have succeeded. False after `limit`, when nearly all calls fail, or
  // when a stop is requested. `on_progress` gets the number of calls so far, from time to time.
  bool AwaitCalls(int64_t calls, std::chrono::milliseconds limit,
                  const std::function<void(int64_t)>& on_progress);
  // Waits for the first answer of a new process, with the same limits.
  bool AwaitNewWorker(std::chrono::milliseconds limit,
                      const std::function<void(int64_t)>& on_progress);
  // Ends the calls and returns their outcomes.
  Outcome Stop();

 private:
  void CallRepeatedly();
  bool Await(const std::function<bool()>& done, std::chrono::milliseconds limit,
             const std::function<void(int64_t)>& on_progress);

  Pool& pool_;
  Interrupts& interrupts_;
  const std::vector<pid_t> old_pids_;
  Mutex mutex_;
  CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  Outcome outcome_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_LOAD_H_
