#include "src/worker/descriptors.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace snakepit {
namespace {

// Out of the way of programs that use low numbers by hand.
constexpr int kLowestPrivateFd = 100;

int private_fds[2] = {-1, -1};

// A child that is forked and runs on must not hold the connection open.
void CloseInChild() {
  for (const int fd : private_fds) close(fd);
}

Result<UniqueFd> Private(int fd) {
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, kLowestPrivateFd);
  // The limit on descriptors may be below that number.
  if (moved < 0 && errno == EINVAL) moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (moved < 0) return Fail(ErrnoError("descriptor " + std::to_string(fd), errno));
  fcntl(moved, F_SETFL, fcntl(moved, F_GETFL) & ~O_NONBLOCK);
  return UniqueFd(moved);
}

}  // namespace

Result<StdioDescriptors> TakeStdio() {
  auto input = Private(STDIN_FILENO);
  if (!input) return Fail(std::move(input.error()));
  auto output = Private(STDOUT_FILENO);
  if (!output) return Fail(std::move(output.error()));
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return Fail(ErrnoError("cannot open /dev/null", errno));
  dup2(null.get(), STDIN_FILENO);
  if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {  // started without a stderr
    dup2(null.get(), STDOUT_FILENO);
    dup2(null.get(), STDERR_FILENO);
  }
  if (null.get() <= STDERR_FILENO) fcntl(null.Release(), F_SETFD, 0);
  // Only now: what was printed before and is still buffered must not get between frames.
  std::fflush(stdout);
  return StdioDescriptors{std::move(*input), std::move(*output)};
}

void CloseInForkedChildren(const StdioDescriptors& descriptors) {
  private_fds[0] = descriptors.input.get();
  private_fds[1] = descriptors.output.get();
  pthread_atfork(nullptr, nullptr, CloseInChild);
}

}  // namespace snakepit
