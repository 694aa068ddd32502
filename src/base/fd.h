// Ownership of file descriptors, and the text of an errno.
#ifndef SNAKEPIT_BASE_FD_H_
#define SNAKEPIT_BASE_FD_H_

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

  // Gives up ownership; -1 if there was none.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }

  // Closes the owned descriptor, if any, and takes `fd`. errno is kept.
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

// "No such file or directory (ENOENT)".
std::string ErrnoMessage(int error_number);

// An INTERNAL error, such as "pipe2: Too many open files (EMFILE)" for `what` = "pipe2".
Error ErrnoError(std::string_view what, int error_number);

// Both ends of a pipe or a connected pair of stream sockets.
struct FdPair {
  UniqueFd first;   // the read end of a pipe
  UniqueFd second;  // the write end of a pipe
};

// Both open descriptors with close-on-exec. INTERNAL if the system has none left.
Result<FdPair> OpenPipe();
Result<FdPair> OpenSocketPair();

// The content of a file. INTERNAL on a failure: in /proc, a process may end between open and read.
Result<std::string> ReadFile(const std::string& path);

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_FD_H_
