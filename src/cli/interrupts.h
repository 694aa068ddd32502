// An early end of the command: by a signal, or because nobody reads its output any more.
#ifndef SNAKEPIT_CLI_INTERRUPTS_H_
#define SNAKEPIT_CLI_INTERRUPTS_H_

#include <atomic>
#include <thread>

#include "snakepit/pool.h"
#include "src/base/fd.h"
#include "src/base/mutex.h"
#include "src/cli/output.h"

namespace snakepit {

inline constexpr int kOutputGoneExitCode = 141;  // a shell's code for an end by SIGPIPE

// SIGINT, SIGTERM and SIGHUP request a stop, with exit code 128 + signal. A second one exits at
// once, and so does a stop that takes over ten seconds. The pool's guardian then kills the workers.
// A stop also ends a wait for somebody to read stdout. Thread-safe.
class Interrupts {
 public:
  // Blocks the default, deadly action of the signals. Must be called before any thread starts, so
  // that all inherit it.
  static void BlockSignals();

  // Watches `out_fd`: a pipe that nobody reads any more is a request to stop, too. `output` must
  // outlive this.
  Interrupts(int out_fd, Output& output);
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // The command's exit code; 0 until a stop is requested.
  int exit_code() const { return exit_code_; }
  bool requested() const { return exit_code_ != 0; }

  // Requests a stop. Only the first request counts.
  void Request(int exit_code);

  // True: a request exits at once, since nothing can be stopped in order.
  void SetExitsAtOnce(bool exits_at_once);

 private:
  friend class PoolStopper;

  void Listen(int out_fd);
  void OnSignal(int signal);

  Output& output_;
  UniqueFd signals_;
  UniqueFd wake_;
  Mutex mutex_;
  CondVar changed_;
  std::atomic<int> exit_code_ = 0;
  bool exits_at_once_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread listener_;
};

// Shuts the pool down when a stop is requested in its lifetime. Must end before the pool.
class PoolStopper {
 public:
  PoolStopper(Interrupts& interrupts, Pool& pool);
  ~PoolStopper();
  PoolStopper(const PoolStopper&) = delete;
  PoolStopper& operator=(const PoolStopper&) = delete;

 private:
  Interrupts& interrupts_;
  bool done_ ABSL_GUARDED_BY(interrupts_.mutex_) = false;
  std::thread thread_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_INTERRUPTS_H_
