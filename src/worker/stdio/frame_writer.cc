#include "src/worker/stdio/frame_writer.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace snakepit {

FrameWriter::Outcome FrameWriter::Write(std::string_view frame, const std::stop_token& unwanted) {
  const MutexLock lock(mutex_);
  if (broken_) return Outcome::kBroken;
  if (unwanted.stop_requested()) return Outcome::kUnwanted;
  while (!frame.empty()) {
    const ssize_t written = write(fd_.get(), frame.data(), frame.size());
    if (written >= 0) {
      frame.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      // Another process that shares the descriptor has made it non-blocking.
      pollfd entry{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
      poll(&entry, 1, -1);
    } else if (errno != EINTR) {
      broken_ = true;
      return Outcome::kBroken;
    }
  }
  return Outcome::kWritten;
}

}  // namespace snakepit
