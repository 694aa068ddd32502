// Waits for input by a short, bounded spin where that pays, and else by blocking.
#ifndef SNAKEPIT_SRC_WORKER_INPUT_WAIT_H_
#define SNAKEPIT_SRC_WORKER_INPUT_WAIT_H_

#include <chrono>

namespace snakepit {

// Most of a small call is the wake-up of a sleeping thread. A spin saves it as long as the next
// request comes within kSpin and a second processor runs the pool meanwhile; where it does not, a
// spin only costs. So after a spin in vain the next waits block: 2, then 4, up to 256, until a spin
// succeeds again. Of one thread at a time.
class InputWait {
 public:
  static constexpr std::chrono::microseconds kSpin{50};

  // Returns when either descriptor can be read or was closed by its peer: whether it is input_fd.
  bool Wait(int input_fd, int wake_fd);

 private:
  static constexpr int kMaxPenalty = 256;

  int penalty_ = 1;  // doubles with each spin in vain
  int skip_ = 0;     // waits that are to block before the next spin
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_INPUT_WAIT_H_
