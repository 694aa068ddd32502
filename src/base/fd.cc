#include "src/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace snakepit {

void UniqueFd::Reset(int fd) {
  const int old = std::exchange(fd_, fd);
  if (old < 0 || old == fd) return;
  const int saved = errno;
  ::close(old);  // On Linux the descriptor is gone even after EINTR; a retry could close another's.
  errno = saved;
}

std::string ErrnoMessage(int error_number) {
  // Unlike strerror, both may be called from any thread. They are null for an unknown number.
  const char* description = strerrordesc_np(error_number);
  const char* name = strerrorname_np(error_number);
  if (description == nullptr || name == nullptr) {
    return "unknown error " + std::to_string(error_number);
  }
  return std::string(description) + " (" + name + ")";
}

Error ErrnoError(std::string_view what, int error_number) {
  Error error;
  error.code = ErrorCode::kInternal;
  error.message = std::string(what) + ": " + ErrnoMessage(error_number);
  return error;
}

Result<FdPair> OpenPipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Fail(ErrnoError("pipe2", errno));
  return FdPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<FdPair> OpenSocketPair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    return Fail(ErrnoError("socketpair", errno));
  }
  return FdPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<std::string> ReadFile(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return Fail(ErrnoError("cannot open " + path, errno));
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t size = ::read(file.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return Fail(ErrnoError("cannot read " + path, errno));
    if (size == 0) return text;
    text.append(buffer, static_cast<size_t>(size));
  }
}

}  // namespace snakepit
