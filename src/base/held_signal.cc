#include "src/base/held_signal.h"

#include <errno.h>
#include <time.h>

namespace snakepit {

HeldSignal::HeldSignal(int signal) {
  sigemptyset(&held_);
  sigaddset(&held_, signal);
  sigset_t pending;
  sigpending(&pending);
  was_pending_ = sigismember(&pending, signal) == 1;
  pthread_sigmask(SIG_BLOCK, &held_, &before_);
}

HeldSignal::~HeldSignal() {
  const int saved = errno;
  const timespec no_time = {};
  while (!was_pending_ && sigtimedwait(&held_, nullptr, &no_time) < 0 && errno == EINTR) {
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  errno = saved;
}

}  // namespace snakepit
