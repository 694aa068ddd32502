// HeldSignal: keeps a signal that a system call raises from the program that the call is made in.
#ifndef SNAKEPIT_SRC_BASE_HELD_SIGNAL_H_
#define SNAKEPIT_SRC_BASE_HELD_SIGNAL_H_

#include <signal.h>

namespace snakepit {

// While it lives, a system call of this thread that raises the signal only fails: SIGXFSZ with
// EFBIG, SIGPIPE with EPIPE. What the program does with the signal stays as it is, and one that was
// pending before still is afterwards. One thread: it is destroyed where it was made.
class HeldSignal {
 public:
  explicit HeldSignal(int signal);
  ~HeldSignal();
  HeldSignal(const HeldSignal&) = delete;
  HeldSignal& operator=(const HeldSignal&) = delete;

 private:
  sigset_t held_;
  sigset_t before_;
  bool was_pending_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_HELD_SIGNAL_H_
