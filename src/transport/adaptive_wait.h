// Waits for descriptors by a short, bounded spin where that pays, and else by blocking.
#ifndef SNAKEPIT_TRANSPORT_ADAPTIVE_WAIT_H_
#define SNAKEPIT_TRANSPORT_ADAPTIVE_WAIT_H_

#include <chrono>

#include "src/transport/connection.h"

namespace snakepit {

// Most of a small call is the wake-up of a sleeping thread. A spin saves it, as long as replies
// come within kSpin and a second processor runs the worker meanwhile; where they do not, it only
// costs. So after a spin in vain the next waits block: 2, then 4, up to 256, until a spin succeeds
// again. One for each connection; not synchronised.
class AdaptiveWait {
 public:
  static constexpr std::chrono::microseconds kSpin{50};

  enum class Outcome { kReady, kDeadline };

  // Returns when `read_fd` or `wake_fd` can be read, `write_fd` (-1: none) can be written, any has
  // been closed by its peer, or the deadline has passed.
  Outcome Wait(int read_fd, int write_fd, int wake_fd, SteadyTime deadline);

 private:
  static constexpr int kMaxPenalty = 256;

  int penalty_ = 1;  // doubles with each spin in vain
  int skip_ = 0;     // waits that are to block before the next spin
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_ADAPTIVE_WAIT_H_
