#include "src/worker/input_wait.h"

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

}  // namespace

bool InputWait::Wait(int input_fd, int wake_fd) {
  pollfd entries[] = {{.fd = input_fd, .events = POLLIN, .revents = 0},
                      {.fd = wake_fd, .events = POLLIN, .revents = 0}};
  if (HasSeveralProcessors() && (skip_ == 0 || --skip_ == 0)) {
    const auto end = steady_clock::now() + kSpin;
    do {
      if (poll(entries, 2, 0) > 0) {
        penalty_ = 1;
        return entries[0].revents != 0;
      }
    } while (steady_clock::now() < end);
    penalty_ = std::min(penalty_ * 2, kMaxPenalty);
    skip_ = penalty_;
  }
  // After an error the read will report what is wrong.
  while (poll(entries, 2, -1) < 0 && errno == EINTR) {
  }
  return entries[0].revents != 0;
}

}  // namespace snakepit
