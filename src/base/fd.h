// Ownership of file descriptors, and the text of an errno.
#ifndef SNAKEPIT_SRC_BASE_FD_H_
#define SNAKEPIT_SRC_BASE_FD_H_

#include <string>
#include <string_view>
#include <utility>

#include "snakepit/error.h"

namespace snakepit {

// Owns one file descriptor, or none (-1), and closes it. Not synchronised.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Reset(other.Release());
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

  // Gives up ownership; -1 when there was none.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }

  // Closes what is owned, if anything, and takes `fd`. errno is kept.
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

// "No such file or directory (ENOENT)".
std::string ErrnoMessage(int error_number);

// An INTERNAL error, `what` failed: "pipe2: Too many open files (EMFILE)".
Error ErrnoError(std::string_view what, int error_number);

// Both ends of a pipe or a connected pair of stream sockets.
struct FdPair {
  UniqueFd first;   // of a pipe: the end to read from
  UniqueFd second;  // of a pipe: the end to write to
};

// Every descriptor that these open is close-on-exec. INTERNAL when the system has none to give.
Result<FdPair> OpenPipe();
Result<FdPair> OpenSocketPair();

// The content of a file, of /proc too, where a process may go between open and read. INTERNAL.
Result<std::string> ReadFile(const std::string& path);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_FD_H_
