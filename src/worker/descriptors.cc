#include "src/worker/descriptors.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace snakepit {
namespace {

// High, because programs may use low numbers by hand.
constexpr int kLowestPrivateFd = 100;

Result<UniqueFd> Private(int fd) {
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, kLowestPrivateFd);
  // The limit on descriptors may be below that number.
  if (moved < 0 && errno == EINVAL) moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (moved < 0) return Fail(ErrnoError("descriptor " + std::to_string(fd), errno));
  fcntl(moved, F_SETFL, fcntl(moved, F_GETFL) & ~O_NONBLOCK);
  return UniqueFd(moved);
}

// Calls `visit` with each open descriptor. Allocates no memory, because it runs in a forked child.
template <typename Visit>
void ForEachDescriptor(Visit visit) {
  struct Entry {  // see getdents64(2)
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    unsigned char type;
    char name[];
  };
  const int folder = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  alignas(Entry) char buffer[4096];
  for (;;) {
    const long size = syscall(SYS_getdents64, folder, buffer, sizeof buffer);
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const Entry*>(buffer + at);
      at += entry->size;
      int fd = 0;
      const char* digit = entry->name;
      for (; *digit >= '0' && *digit <= '9'; ++digit) fd = 10 * fd + (*digit - '0');
      if (digit != entry->name && fd != folder) visit(fd);
    }
  }
  close(folder);
}

// True for the socket that was bound to this address, and for those that it accepted.
bool IsOwnSocket(int fd, const char* path, int port) {
  int type = 0;
  socklen_t type_size = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0 || type != SOCK_STREAM) {
    return false;
  }
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) != 0) return false;
  switch (own.ss_family) {
    case AF_UNIX:
      return *path != '\0' && strcmp(reinterpret_cast<sockaddr_un&>(own).sun_path, path) == 0;
    case AF_INET:
      return ntohs(reinterpret_cast<sockaddr_in&>(own).sin_port) == port;
    case AF_INET6:
      return ntohs(reinterpret_cast<sockaddr_in6&>(own).sin6_port) == port;
    default:
      return false;
  }
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
  // Only now, so that text printed before and still buffered does not get between frames.
  std::fflush(stdout);
  return StdioDescriptors{std::move(*input), std::move(*output)};
}

void OpenClosedStdio() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    const int null = open("/dev/null", O_RDWR);
    if (null == fd || null < 0) continue;
    dup2(null, fd);
    close(null);
  }
}

void CloseServedSockets(const char* path, int port) {
  ForEachDescriptor([&](int fd) {
    if (IsOwnSocket(fd, path, port)) close(fd);
  });
}

}  // namespace snakepit
