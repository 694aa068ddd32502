// What ends the command early: a signal, or that nobody reads its output any more.
#ifndef SNAKEPIT_SRC_CLI_INTERRUPTS_H_
#define SNAKEPIT_SRC_CLI_INTERRUPTS_H_

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "snakepit/pool.h"
#include "src/base/fd.h"
#include "src/cli/output.h"

namespace snakepit {

inline constexpr int kOutputGoneExitCode = 141;  // what a shell says of an end by SIGPIPE

// SIGINT, SIGTERM and SIGHUP ask to stop, with exit code 128 + signal; a second one exits at once,
// and so does a stop that takes over ten seconds. A process that ends so takes its workers with it:
// the pool's guardian kills them. A stop also ends the waiting for somebody to read stdout. All
// methods may be called from any thread.
class Interrupts {
 public:
  // Keeps the signals from the default, deadly action. To be called before any thread is started,
  // so that all have it.
  static void BlockSignals();

  // `out_fd` is watched: when it is a pipe that nobody reads any more, that asks to stop, too.
  // `output` must live longer than this.
  Interrupts(int out_fd, Output& output);
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // 0 until a stop is asked for; then how the command is to exit.
  int exit_code() const { return exit_code_; }
  bool requested() const { return exit_code_ != 0; }

  // Asks to stop; only the first counts.
  void Request(int exit_code);

  // Whether there is nothing that could be stopped in order, so that a request exits at once.
  void SetExitsAtOnce(bool exits_at_once);

 private:
  friend class PoolStopper;

  void Listen(int out_fd);
  void OnSignal(int signal);

  Output& output_;
  UniqueFd signals_;
  UniqueFd wake_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> exit_code_ = 0;
  bool exits_at_once_ = false;
  std::thread listener_;
};

// Shuts the pool down when a stop is asked for, as long as this lives. Must end before the pool.
class PoolStopper {
 public:
  PoolStopper(Interrupts& interrupts, Pool& pool);
  ~PoolStopper();
  PoolStopper(const PoolStopper&) = delete;
  PoolStopper& operator=(const PoolStopper&) = delete;

 private:
  Interrupts& interrupts_;
  bool done_ = false;  // guarded by interrupts_.mutex_
  std::thread thread_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_INTERRUPTS_H_
