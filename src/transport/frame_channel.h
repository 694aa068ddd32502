// Frames over a stream socket, without blocking.
#ifndef SNAKEPIT_TRANSPORT_FRAME_CHANNEL_H_
#define SNAKEPIT_TRANSPORT_FRAME_CHANNEL_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "src/base/fd.h"
#include "src/wire/frame.h"

namespace snakepit {

// The pool's end of a worker's stdin and stdout. Not synchronised, but for Shutdown.
class FrameChannel {
 public:
  struct Progress {
    enum class Kind {
      kPayload,  // a frame came
      kBlocked,  // nothing to do until fd() is readable, or, if wants_write, writable
      kClosed,   // the peer closed: no more will come; `error` is WORKER_LOST
      kBroken,   // what came is no frame: PROTOCOL_ERROR
    };
    Kind kind;
    std::string_view payload = {};  // valid until the next call
    bool wants_write = false;
    Error error = {};
  };

  // `fd` is a connected, non-blocking stream socket.
  FrameChannel(UniqueFd fd, size_t max_frame_bytes)
      : fd_(std::move(fd)), max_frame_bytes_(max_frame_bytes), reader_(max_frame_bytes) {}

  // To append whole frames to; Advance sends them. Empty when all has been sent.
  std::string& outgoing() { return outgoing_; }
  // Whether any byte of what was appended since the last call of this has been sent.
  bool TakeSomethingWasSent() { return std::exchange(something_was_sent_, false); }

  // Sends and receives what can be without waiting.
  Progress Advance();

  int fd() const { return fd_.get(); }
  size_t max_frame_bytes() const { return max_frame_bytes_; }

  // shutdown(2): SHUT_WR for an end of stdin, SHUT_RDWR to wake whoever waits. From any thread.
  void Shutdown(int how);

 private:
  // False when the peer does not take any more.
  bool Send();

  const UniqueFd fd_;
  const size_t max_frame_bytes_;
  std::string outgoing_;
  size_t sent_ = 0;  // of outgoing_
  bool something_was_sent_ = false;
  FrameReader reader_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_FRAME_CHANNEL_H_
