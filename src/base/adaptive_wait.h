// Waits for descriptors by a short, bounded spin where that pays, and else by blocking.
#ifndef SNAKEPIT_SRC_BASE_ADAPTIVE_WAIT_H_
#define SNAKEPIT_SRC_BASE_ADAPTIVE_WAIT_H_

#include <poll.h>

#include <chrono>
#include <optional>
#include <span>

namespace snakepit {

// Most of a small call is the wake-up of a sleeping thread. A spin saves it, as long as the peer's
// message comes within kSpin and a second processor runs the peer meanwhile; where they do not, it
// only costs. So after a spin in vain the next waits block: 2, then 4, up to 256, until a spin
// succeeds again. One for each connection; not synchronised.
class AdaptiveWait {
 public:
  static constexpr std::chrono::microseconds kSpin{50};

  enum class Outcome { kReady, kDeadline };

  // Waits as poll(2) does, which fills in revents; an entry with the descriptor -1 is left out.
  // Without a deadline it waits for ever.
  Outcome Wait(std::span<pollfd> entries,
               std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt);

 private:
  static constexpr int kMaxPenalty = 256;

  int penalty_ = 1;  // doubles with each spin in vain
  int skip_ = 0;     // waits that are to block before the next spin
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_ADAPTIVE_WAIT_H_
