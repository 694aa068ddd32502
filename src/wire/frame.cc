#include "src/wire/frame.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "src/base/quote.h"

namespace snakepit {
namespace {

// First size of the buffer: many small frames come in one receive.
constexpr size_t kFirstCapacity = 16 * 1024;
// A buffer over this is given back when it is empty, rather than kept for the next frame.
constexpr size_t kKeptCapacity = 256 * 1024;
// Less room than this is not worth a system call.
constexpr size_t kLeastRoom = 4 * 1024;

uint32_t ReadLength(const char* header) {
  uint32_t length = 0;
  for (size_t i = 0; i < kFrameHeaderBytes; ++i) {
    length = length << 8 | static_cast<unsigned char>(header[i]);
  }
  return length;
}

bool IsPrintable(unsigned char byte) {
  return (byte >= 0x20 && byte < 0x7f) || byte == '\n' || byte == '\r' || byte == '\t';
}

// True if bytes in the place of a header look like text: a short line, or text throughout.
bool LooksPrinted(std::string_view header) {
  for (const char c : header) {
    if (!IsPrintable(static_cast<unsigned char>(c))) return false;
    if (c == '\n') return true;
  }
  return true;
}

}  // namespace

std::span<char> FrameReader::Writable() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (capacity_ > kKeptCapacity) {
      buffer_.reset();
      capacity_ = 0;
    }
  }
  if (capacity_ - end_ < kLeastRoom) {
    const size_t unread = end_ - begin_;
    if (capacity_ >= kFirstCapacity && unread <= capacity_ / 2) {
      std::memmove(buffer_.get(), buffer_.get() + begin_, unread);
    } else {
      const size_t capacity = std::max(kFirstCapacity, 2 * capacity_);
      // Not make_unique, which would fill what is about to be received into.
      std::unique_ptr<char[]> buffer(new char[capacity]);
      if (unread > 0) std::memcpy(buffer.get(), buffer_.get() + begin_, unread);
      buffer_ = std::move(buffer);
      capacity_ = capacity;
    }
    begin_ = 0;
    end_ = unread;
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

void FrameReader::Commit(size_t n) {
  assert(n <= capacity_ - end_);
  end_ += n;
}

Result<std::optional<std::string_view>> FrameReader::Next() {
  if (error_) return Fail(*error_);
  const std::string_view unread = Unread();
  if (unread.size() < kFrameHeaderBytes) return std::nullopt;
  const uint32_t length = ReadLength(unread.data());
  if (length < least_frame_bytes_ || length > max_frame_bytes_) return BadLength(length);
  if (unread.size() - kFrameHeaderBytes < length) return std::nullopt;
  begin_ += kFrameHeaderBytes + length;
  stream_offset_ += kFrameHeaderBytes + length;
  return unread.substr(kFrameHeaderBytes, length);
}

TakenPayload FrameReader::Take(std::string_view payload) {
  if (begin_ == end_) {
    begin_ = end_ = capacity_ = 0;
    return {.memory = std::move(buffer_), .bytes = payload};
  }
  std::unique_ptr<char[]> memory(new char[payload.size()]);
  std::memcpy(memory.get(), payload.data(), payload.size());
  const std::string_view bytes(memory.get(), payload.size());
  return {.memory = std::move(memory), .bytes = bytes};
}

tl::unexpected<Error> FrameReader::BadLength(uint32_t length) {
  const std::string_view unread = Unread();
  const std::string_view header = unread.substr(0, kFrameHeaderBytes);
  Error error;
  error.code = ErrorCode::kProtocolError;
  error.message = "frame header " + QuoteBytes(header) + " (" + HexBytes(header) +
                  ") at stream offset " + std::to_string(stream_offset_);
  if (length == 0) {
    error.message += " claims no bytes";
  } else {
    error.message += " claims " + std::to_string(length) + " bytes, over the limit of " +
                     std::to_string(max_frame_bytes_);
  }
  if (least_frame_bytes_ > 0 && LooksPrinted(header)) {
    error.message += "; the worker probably printed to stdout";
  }
  error.message += "; unexpected bytes: " + QuoteBytes(unread);
  error_ = error;
  return Fail(std::move(error));
}

std::string FrameReader::DescribePartial() const {
  const std::string_view unread = Unread();
  if (unread.empty()) return "";
  const std::string place =
      " at stream offset " + std::to_string(stream_offset_) + ": " + QuoteBytes(unread);
  if (unread.size() < kFrameHeaderBytes) {
    return std::to_string(unread.size()) + " bytes of a frame header" + place;
  }
  return std::to_string(unread.size() - kFrameHeaderBytes) + " of " +
         std::to_string(ReadLength(unread.data())) + " bytes of a frame" + place;
}

size_t BeginFrame(std::string* out) {
  const size_t start = out->size();
  out->append(kFrameHeaderBytes, '\0');
  return start;
}

Result<void> EndFrame(std::string* out, size_t start, size_t max_frame_bytes) {
  const size_t length = out->size() - start - kFrameHeaderBytes;
  const size_t limit = std::min<size_t>(max_frame_bytes, UINT32_MAX);
  if (length > limit) {
    out->resize(start);
    return Fail(ErrorCode::kMessageTooLarge, "a message of " + std::to_string(length) +
                                                 " bytes is over the limit of " +
                                                 std::to_string(limit));
  }
  for (size_t i = 0; i < kFrameHeaderBytes; ++i) {
    (*out)[start + i] = static_cast<char>(length >> (8 * (kFrameHeaderBytes - 1 - i)));
  }
  return {};
}

}  // namespace snakepit
