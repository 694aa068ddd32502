// Frames: a 4-byte big-endian payload length, then the payload. PROTOCOL.md 2.1. No I/O.
#ifndef SNAKEPIT_WIRE_FRAME_H_
#define SNAKEPIT_WIRE_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "snakepit/error.h"

namespace snakepit {

inline constexpr size_t kFrameHeaderBytes = 4;

// A payload that outlives the reader's copy.
struct TakenPayload {
  std::unique_ptr<char[]> memory;
  std::string_view bytes;
};

// Splits a stream of bytes, received in any pieces, into the payloads of its frames:
//
//   n = recv(fd, reader.Writable()); reader.Commit(n);
//   while (payload = reader.Next()) …
//
// The buffer is at most four times as large as the bytes that were received and not yet returned
// (or 16 KiB), whatever length a header claims. It is freed when a large frame has been consumed.
// Not synchronised.
class FrameReader {
 public:
  // Accepts payloads of least_frame_bytes to max_frame_bytes bytes. The least is 0 for a worker,
  // which answers an empty payload: PROTOCOL.md 2.6.7.
  explicit FrameReader(size_t max_frame_bytes, size_t least_frame_bytes = 1)
      : max_frame_bytes_(max_frame_bytes), least_frame_bytes_(least_frame_bytes) {}

  // Room for the next bytes, never empty. Invalidates the payloads that Next has returned.
  std::span<char> Writable();

  // The first n bytes of the latest Writable() have been filled.
  void Commit(size_t n);

  // The next payload (valid until the next Writable), or nothing when it is not complete.
  // PROTOCOL_ERROR for a frame of fewer or more bytes than accepted, as soon as its header has
  // come. It names the place in the stream and the bytes found there. The reader then stays in
  // error.
  Result<std::optional<std::string_view>> Next();

  // Takes the payload that Next has just returned out of the reader, without a copy if nothing
  // follows it yet.
  TakenPayload Take(std::string_view payload);

  // True if everything received has been returned; false in the middle of a frame.
  bool empty() const { return begin_ == end_; }

  // The bytes of the unfinished frame, for an error message: "12 of 4000 bytes of a frame at stream
  // offset 77: \"…\"". Empty when there is none.
  std::string DescribePartial() const;

  // Size of the buffer in memory; for tests and statistics.
  size_t capacity() const { return capacity_; }

 private:
  std::string_view Unread() const { return {buffer_.get() + begin_, end_ - begin_}; }
  tl::unexpected<Error> BadLength(uint32_t length);

  size_t max_frame_bytes_;
  size_t least_frame_bytes_;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;            // start of the bytes not yet returned
  size_t end_ = 0;              // end of the bytes received
  uint64_t stream_offset_ = 0;  // place of the byte at begin_ in the stream
  std::optional<Error> error_;
};

// Frames are encoded in place:
//
//   size_t start = BeginFrame(&out); …append the payload to out…; EndFrame(&out, start, max);

// Appends room for a header, and returns where the frame starts.
size_t BeginFrame(std::string* out);

// Fills in the header of the frame that started at `start` and ends with `*out`. MESSAGE_TOO_LARGE
// when the payload is over max_frame_bytes (at most 2^32 - 1); the frame is then taken off `*out`.
Result<void> EndFrame(std::string* out, size_t start, size_t max_frame_bytes);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_FRAME_H_
