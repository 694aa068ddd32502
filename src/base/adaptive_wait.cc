#include "src/base/adaptive_wait.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>

namespace snakepit {
namespace {

using std::chrono::steady_clock;

bool HasSeveralProcessors() {
  static const bool several = [] {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
  }();
  return several;
}

timespec ToTimespec(steady_clock::duration time) {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  return {.tv_sec = static_cast<time_t>(ns / 1'000'000'000), .tv_nsec = ns % 1'000'000'000};
}

}  // namespace

AdaptiveWait::Outcome AdaptiveWait::Wait(std::span<pollfd> entries,
                                         std::optional<steady_clock::time_point> deadline) {
  if (HasSeveralProcessors() && (skip_ == 0 || --skip_ == 0)) {
    auto end = steady_clock::now() + kSpin;
    if (deadline) end = std::min(end, *deadline);
    do {
      if (poll(entries.data(), entries.size(), 0) > 0) {
        penalty_ = 1;
        return Outcome::kReady;
      }
    } while (steady_clock::now() < end);
    penalty_ = std::min(penalty_ * 2, kMaxPenalty);
    skip_ = penalty_;
  }
  for (;;) {
    timespec left{};
    if (deadline) {
      const auto now = steady_clock::now();
      if (now >= *deadline) return Outcome::kDeadline;
      left = ToTimespec(*deadline - now);
    }
    const int ready = ppoll(entries.data(), entries.size(), deadline ? &left : nullptr, nullptr);
    // After an error, the read will report the fault.
    if (ready > 0 || (ready < 0 && errno != EINTR)) return Outcome::kReady;
  }
}

}  // namespace snakepit
