// Frames over stream sockets, without blocking.
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
      kBlocked,  // nothing to do until there is something to read, or, if wants_write, room to
                 // write
      kClosed,   // the peer closed: no more will come; `error` is WORKER_LOST
      kBroken,   // what came is no frame: PROTOCOL_ERROR
    };
    Kind kind;
    std::string_view payload = {};  // valid until the next call
    bool wants_write = false;
    Error error = {};
  };

  // Connected stream sockets: where to send to, the worker's stdin, and to receive from, its
  // stdout.
  FrameChannel(UniqueFd to_worker, UniqueFd from_worker, size_t max_frame_bytes)
      : to_worker_(std::move(to_worker)),
        from_worker_(std::move(from_worker)),
        max_frame_bytes_(max_frame_bytes),
        reader_(max_frame_bytes) {}

  // To append whole frames to; Advance sends them. Empty when all has been sent.
  std::string& outgoing() { return outgoing_; }
  // Whether any byte of what was appended since the last call of this has been sent.
  bool TakeSomethingWasSent() { return std::exchange(something_was_sent_, false); }

  // Sends and receives what can be without waiting.
  Progress Advance();

  // To wait for what kBlocked names.
  int read_fd() const { return from_worker_.get(); }
  int write_fd() const { return to_worker_.get(); }
  size_t max_frame_bytes() const { return max_frame_bytes_; }

  // The worker sees the end of its stdin. From any thread.
  void EndInput();
  // Whoever waits for the channel is woken: what had arrived is still read, then kClosed. From any
  // thread.
  void Abort();

 private:
  // False when the peer does not take any more.
  bool Send();

  const UniqueFd to_worker_;
  const UniqueFd from_worker_;
  const size_t max_frame_bytes_;
  std::string outgoing_;
  size_t sent_ = 0;  // of outgoing_
  bool something_was_sent_ = false;
  FrameReader reader_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_FRAME_CHANNEL_H_
