// Which of several threads reads the connection.
#ifndef SNAKEPIT_WORKER_STDIO_READING_ROLE_H_
#define SNAKEPIT_WORKER_STDIO_READING_ROLE_H_

#include <atomic>
#include <chrono>
#include <cstdint>

#include "src/base/mutex.h"

namespace snakepit {

// A small call is quickest when the thread that read it also runs its handler. So that one that
// takes long does not stop the reading, a second thread stands by, and takes the role of the reader
// over when the first has been busy for a tick or two. It looks once a tick while the reader has
// something to do, and sleeps when there is nothing for a while.
//
// The reader:                                    The one that stands by:
//   read and decode a message                      if (AwaitRole()) …become the reader…
//   const Turn turn = BeginBusy();
//   …run the handler, or whatever it takes…
//   if (!EndBusy(turn)) …another thread reads now…
class ReadingRole {
 public:
  static constexpr std::chrono::milliseconds kTick{1};

  // Names one stretch in which the reader was busy; never 0.
  using Turn = uint64_t;

  // Of the thread that has the role. From here on it can be taken.
  Turn BeginBusy();

  // False when another thread has the role by now.
  bool EndBusy(Turn turn);

  // The thread of that turn will not read soon: whoever stands by is to take the role at once. Does
  // nothing when it was taken already, or when `turn` is 0.
  void GiveUp(Turn turn);

  // Waits until the role is to be taken, and takes it: true; or until End: false. One thread at a
  // time.
  bool AwaitRole();

  // No one needs to stand by any more.
  void End();

 private:
  // Without a look at anything for so many ticks, whoever stands by sleeps.
  static constexpr int kIdleTicks = 20;

  // The two low bits of state_; the rest counts the turns.
  enum State : uint64_t { kReading = 0, kBusy = 1, kFree = 2 };
  static constexpr uint64_t kStateMask = 3;

  void Wake();

  std::atomic<uint64_t> state_{kReading};
  std::atomic<bool> asleep_{false};
  Mutex mutex_;
  CondVar wake_;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_STDIO_READING_ROLE_H_
