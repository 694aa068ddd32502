// Waits for descriptors by a short, bounded spin where that pays, and else by blocking.
#ifndef SNAKEPIT_TRANSPORT_ADAPTIVE_WAIT_H_
#define SNAKEPIT_TRANSPORT_ADAPTIVE_WAIT_H_

#include <chrono>

#include "src/transport/connection.h"

namespace snakepit {

// Most of a small call is the wake-up of a sleeping thread. A spin saves it, as long as replies
// come within kSpin and a second processor runs the worker meanwhile. So it spins only while recent
// waits ended soon, and backs off to blocking when they do not. One for each connection; not
// synchronised.
class AdaptiveWait {
 public:
  static constexpr std::chrono::microseconds kSpin{50};

  enum class Outcome { kReady, kDeadline };

  // Returns when `read_fd` can be read, `write_fd` (-1: none) can be written, either has been
  // closed by its peer, or the deadline has passed.
  Outcome Wait(int read_fd, int write_fd, SteadyTime deadline);

 private:
  static constexpr int kMaxCredit = 8;

  int credit_ = 0;  // over 0: spin
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_ADAPTIVE_WAIT_H_
