#include "src/worker/grpc/pool_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace snakepit {
namespace {

// A pipe or a socket.
bool IsChannel(int fd) {
  struct stat there {};
  return fstat(fd, &there) == 0 && (S_ISFIFO(there.st_mode) || S_ISSOCK(there.st_mode));
}

bool IsHungUp(int fd) {
  pollfd entry{.fd = fd, .events = POLLRDHUP, .revents = 0};
  return poll(&entry, 1, 0) > 0;
}

}  // namespace

PoolWatch::PoolWatch(UniqueFd input, UniqueFd output, bool has_input)
    : input_(std::move(input)), output_(std::move(output)) {
  if (has_input && IsChannel(input_.get())) {
    watches_input_ = !IsHungUp(input_.get());
    if (watches_input_) return;
    // Its other end was closed before the worker ran, or nobody ever wrote to it.
    pool_is_gone_ = getppid() == 1;
  }
  if (!IsChannel(output_.get())) return;
  // There is none when the parent is outside of this namespace, or the system is old.
  parent_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, getppid(), 0)));
  watches_output_ = parent_.valid();
}

void PoolWatch::Wait(int wakeup) {
  // poll skips descriptors below 0.
  pollfd entries[] = {{.fd = wakeup, .events = POLLIN, .revents = 0},
                      {.fd = watches_input_ ? input_.get() : -1, .events = POLLRDHUP, .revents = 0},
                      {.fd = watches_output_ ? output_.get() : -1, .events = 0, .revents = 0},
                      {.fd = watches_output_ ? parent_.get() : -1, .events = POLLIN, .revents = 0}};
  auto& [woken, input, output, parent] = entries;
  while (!pool_is_gone_) {
    if (poll(entries, std::size(entries), -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (woken.revents != 0) return;
    if (output.revents != 0) output.fd = -1;
    if (parent.revents != 0) parent.fd = -1;
    pool_is_gone_ = input.revents != 0 || (watches_output_ && output.fd < 0 && parent.fd < 0);
  }
}

}  // namespace snakepit
