// The load of `snakepit demo` under which a worker is killed.
#ifndef SNAKEPIT_SRC_CLI_LOAD_H_
#define SNAKEPIT_SRC_CLI_LOAD_H_

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "src/cli/interrupts.h"

namespace snakepit {

// Calls that go on, from as many threads as there are workers, and what becomes of them.
class Load {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  struct FailedCall {
    Error error;
    pid_t pid = 0;  // of the worker that had it
  };
  struct Outcome {
    int64_t ok = 0;
    std::vector<FailedCall> failed;
    // The first answer of a process that was not there in the beginning.
    pid_t new_pid = 0;
    std::optional<SteadyTime> new_answered_at;
  };

  // The calls begin. `old_pids` are those of the workers now.
  Load(Pool& pool, Interrupts& interrupts, int threads, std::vector<pid_t> old_pids);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Waits until so many calls more have gone well: true, or false after `limit`, when next to all
  // calls fail, or when a stop was asked for. `on_progress` is called
  // with the number of calls so far, from time to time.
  bool AwaitCalls(int64_t calls, std::chrono::milliseconds limit,
                  const std::function<void(int64_t)>& on_progress);
  // Waits for the first answer of a new process, likewise.
  bool AwaitNewWorker(std::chrono::milliseconds limit,
                      const std::function<void(int64_t)>& on_progress);
  // Ends the calls, and gives what became of them.
  Outcome Stop();

 private:
  void CallRepeatedly();
  bool Await(const std::function<bool()>& done, std::chrono::milliseconds limit,
             const std::function<void(int64_t)>& on_progress);

  Pool& pool_;
  Interrupts& interrupts_;
  const std::vector<pid_t> old_pids_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  Outcome outcome_;
  std::vector<std::jthread> threads_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_LOAD_H_
