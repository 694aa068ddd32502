#include "src/transport/adaptive_wait.h"

#include <poll.h>
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

AdaptiveWait::Outcome AdaptiveWait::Wait(int read_fd, int write_fd, int wake_fd,
                                         SteadyTime deadline) {
  pollfd entries[] = {{.fd = read_fd, .events = POLLIN, .revents = 0},
                      {.fd = wake_fd, .events = POLLIN, .revents = 0},
                      {.fd = write_fd, .events = POLLOUT, .revents = 0}};
  const nfds_t count = write_fd < 0 ? 2 : 3;
  if (HasSeveralProcessors() && (skip_ == 0 || --skip_ == 0)) {
    const SteadyTime end = std::min(steady_clock::now() + kSpin, deadline);
    do {
      if (poll(entries, count, 0) > 0) {
        penalty_ = 1;
        return Outcome::kReady;
      }
    } while (steady_clock::now() < end);
    penalty_ = std::min(penalty_ * 2, kMaxPenalty);
    skip_ = penalty_;
  }
  for (;;) {
    const SteadyTime now = steady_clock::now();
    if (now >= deadline) return Outcome::kDeadline;
    const timespec left = ToTimespec(deadline - now);
    const int ready = ppoll(entries, count, &left, nullptr);
    // After an error the read will report what is wrong.
    if (ready > 0 || (ready < 0 && errno != EINTR)) return Outcome::kReady;
  }
}

}  // namespace snakepit
