// Wakes a thread that waits for descriptors.
#ifndef SNAKEPIT_BASE_WAKEUP_H_
#define SNAKEPIT_BASE_WAKEUP_H_

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "src/base/fd.h"

namespace snakepit {

// An eventfd(2). All methods from any thread.
class Wakeup {
 public:
  Wakeup() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  // False if the system had none to give; errno says why.
  bool valid() const { return fd_.valid(); }
  // Readable if Wake was called since the last Clear.
  int fd() const { return fd_.get(); }

  // May be called from a signal handler.
  void Wake() const {
    const int saved = errno;
    const uint64_t one = 1;
    (void)!write(fd_.get(), &one, sizeof one);
    errno = saved;
  }

  void Clear() const {
    uint64_t count = 0;
    (void)!read(fd_.get(), &count, sizeof count);
  }

 private:
  const UniqueFd fd_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_WAKEUP_H_
