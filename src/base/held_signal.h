// HeldSignal: shields the program from a signal that one of its system calls raises.
#ifndef SNAKEPIT_BASE_HELD_SIGNAL_H_
#define SNAKEPIT_BASE_HELD_SIGNAL_H_

#include <signal.h>

namespace snakepit {

// While it lives, a system call of this thread that raises the signal only fails: SIGXFSZ with
// EFBIG, SIGPIPE with EPIPE. The program's handling of the signal stays unchanged, and a signal
// that was pending before stays pending. Must be destroyed on the thread that made it.
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

#endif  // SNAKEPIT_BASE_HELD_SIGNAL_H_
