// What the decoding of a message may take: memory and time.
#ifndef SNAKEPIT_SRC_VALUE_DECODE_BUDGET_H_
#define SNAKEPIT_SRC_VALUE_DECODE_BUDGET_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <stop_token>
#include <utility>

#include "snakepit/error.h"

namespace snakepit {

// Bytes from outside become values that take up to 64 times as much: an empty map is 1 byte of
// MessagePack and 64 bytes of memory. So what they become is limited beside their own size.
struct DecodeLimits {
  // Of the values in memory, as MemoryBytes (memory.h) counts.
  size_t max_bytes = SIZE_MAX;
  // When the result is of no use any more.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::stop_token stop;
};

// The bytes that 0 for Adapter::max_decoded_bytes stands for, with largest messages of that size;
// any other stands for itself.
size_t DecodedLimit(size_t max_decoded_bytes, size_t max_message_bytes);

// Counts what one decoding takes. Not synchronised.
class DecodeBudget {
 public:
  // `limits` must outlive it.
  explicit DecodeBudget(const DecodeLimits& limits)
      : limits_(limits),
        slice_(std::min(kSlice, limits.max_bytes)),
        left_(limits.max_bytes - slice_) {}

  // To be called before the memory is allocated. false: the limits have been passed, and `error`
  // says which: MESSAGE_TOO_LARGE, DEADLINE_EXCEEDED or CANCELLED. The time is looked at once in
  // 256 KiB, and so never for a small message.
  bool Take(size_t bytes) {
    if (bytes > slice_) return TakeSlice(bytes);
    slice_ -= bytes;
    return true;
  }

  // Whether so many bytes may be allocated ahead, each of which Take is going to count; `error`
  // likewise.
  bool Allows(size_t bytes) { return bytes <= slice_ + left_ || Fail(TooLarge(bytes)); }

  const std::optional<Error>& error() const { return error_; }

 private:
  static constexpr size_t kSlice = 256 * 1024;

  bool TakeSlice(size_t bytes);
  Error TooLarge(size_t bytes) const;
  bool Fail(Error error) {
    error_ = std::move(error);
    return false;
  }

  const DecodeLimits& limits_;
  size_t slice_;  // what may be taken before the next look at the time
  size_t left_;   // beside that
  std::optional<Error> error_;
};

// INTERNAL: the system has no memory for a message of that size.
Error OutOfMemory(size_t message_bytes);

// What `decode`, which returns a Result, makes of a message of that size; OutOfMemory where it
// throws std::bad_alloc.
template <typename Decode>
auto OrOutOfMemory(size_t message_bytes, const Decode& decode) -> decltype(decode()) {
  try {
    return decode();
  } catch (const std::bad_alloc&) {
    return tl::unexpected<Error>(OutOfMemory(message_bytes));
  }
}

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_VALUE_DECODE_BUDGET_H_
