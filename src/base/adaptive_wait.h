// Waits for descriptors by a short, bounded spin where that pays, and by blocking otherwise.
#ifndef SNAKEPIT_BASE_ADAPTIVE_WAIT_H_
#define SNAKEPIT_BASE_ADAPTIVE_WAIT_H_

#include <poll.h>

#include <chrono>
#include <optional>
#include <span>

namespace snakepit {

// Most of a small call is the wake-up of a sleeping thread. A spin saves it if the peer's message
// comes within kSpin and a second processor runs the peer in the meantime. Otherwise it only costs.
// So after a vain spin the next waits block: 2, then 4, up to 256, until a spin succeeds again. One
// object for each connection; not synchronised.
class AdaptiveWait {
 public:
  static constexpr std::chrono::microseconds kSpin{50};

  enum class Outcome { kReady, kDeadline };

  // Waits like poll(2), which fills in revents and leaves out entries with the descriptor -1. Waits
  // for ever without a deadline.
  Outcome Wait(std::span<pollfd> entries,
               std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt);

 private:
  static constexpr int kMaxPenalty = 256;

  int penalty_ = 1;  // doubles with each vain spin
  int skip_ = 0;     // waits that block before the next spin
};

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_ADAPTIVE_WAIT_H_
