// Frames over stream sockets, without blocking.
#ifndef SNAKEPIT_TRANSPORT_STDIO_FRAME_CHANNEL_H_
#define SNAKEPIT_TRANSPORT_STDIO_FRAME_CHANNEL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "src/base/fd.h"
#include "src/wire/frame.h"

namespace snakepit {

// The pool's end of a worker's stdin and stdout. One thread at a time may be in Append or Flush,
// one at a time in Receive, and those two may be different ones; the rest from any thread.
class FrameChannel {
 public:
  struct Progress {
    enum class Kind {
      kPayload,  // a frame came
      kBlocked,  // nothing to do until there is something to read
      kClosed,   // the peer closed: no more will come; `error` is WORKER_LOST
      kBroken,   // the bytes are no frame: PROTOCOL_ERROR; or there is no memory: INTERNAL
    };
    Kind kind;
    std::string_view payload = {};  // valid until the next Receive
    Error error = {};
  };

  // Connected stream sockets: where to send to, the worker's stdin, and to receive from, its
  // stdout.
  FrameChannel(UniqueFd to_worker, UniqueFd from_worker, size_t max_frame_bytes)
      : to_worker_(std::move(to_worker)),
        from_worker_(std::move(from_worker)),
        max_frame_bytes_(max_frame_bytes),
        reader_(max_frame_bytes) {}

  // Takes one whole frame or more, to be sent by Flush; leaves `*frames` empty, perhaps with the
  // room of an earlier one.
  void Append(std::string* frames);

  // Most bytes that a Flush sends. A worker that reads as fast as this side sends would otherwise
  // hold up all who wait for the lock of the connection until it has the whole frame.
  static constexpr size_t kMostAFlush = 2 << 20;

  // Sends what can be without waiting, up to kMostAFlush.
  void Flush();

  // Bytes appended and bytes sent so far. The rule of Append for threads holds.
  uint64_t appended() const { return appended_; }
  uint64_t sent() const { return sent_; }

  // True if Flush left something, and must be called again when there is room to write, which may
  // be at once.
  bool has_unsent() const { return has_unsent_.load(std::memory_order_relaxed); }

  // True if the worker closed its stdin: Receive then gives the rest of its output, and kClosed.
  bool peer_takes_no_more() const { return peer_takes_no_more_; }

  // The next frame, without waiting.
  Progress Receive();

  // Same as FrameReader::Take, for the payload that Receive has just given, on the same thread.
  TakenPayload Take(std::string_view payload) { return reader_.Take(payload); }

  // To wait for: something to receive, room for what is unsent.
  int read_fd() const { return from_worker_.get(); }
  int write_fd() const { return to_worker_.get(); }
  size_t max_frame_bytes() const { return max_frame_bytes_; }

  // The worker sees the end of its stdin.
  void EndInput();
  // Wakes the thread that waits for the channel: bytes that had arrived are received, then kClosed.
  void Abort();

 private:
  // All that is in outgoing_ has been sent.
  void TakeNextOutgoing();

  const UniqueFd to_worker_;
  const UniqueFd from_worker_;
  const size_t max_frame_bytes_;
  std::string outgoing_;  // frames that are being sent; empty: none are left
  size_t sent_of_outgoing_ = 0;
  std::deque<std::string> behind_;  // the frames that come after these
  uint64_t appended_ = 0;
  uint64_t sent_ = 0;
  std::atomic<bool> has_unsent_ = false;
  std::atomic<bool> peer_takes_no_more_ = false;
  FrameReader reader_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_FRAME_CHANNEL_H_
