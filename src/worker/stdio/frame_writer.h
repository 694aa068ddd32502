// Writes whole frames to a descriptor, from any thread.
#ifndef SNAKEPIT_WORKER_STDIO_FRAME_WRITER_H_
#define SNAKEPIT_WORKER_STDIO_FRAME_WRITER_H_

#include <stop_token>
#include <string_view>

#include "src/base/fd.h"
#include "src/base/mutex.h"

namespace snakepit {

class FrameWriter {
 public:
  enum class Outcome { kWritten, kUnwanted, kBroken };

  // SIGPIPE must not end the process.
  explicit FrameWriter(UniqueFd fd) : fd_(std::move(fd)) {}

  // Writes a frame, unless a stop is requested before its turn. Blocks while nobody reads. kBroken
  // when the other side is gone, now or before.
  Outcome Write(std::string_view frame, const std::stop_token& unwanted = {});

 private:
  const UniqueFd fd_;
  Mutex mutex_;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_STDIO_FRAME_WRITER_H_
