// Limits on the memory and the time that the decoding of a message takes.
#ifndef SNAKEPIT_VALUE_DECODE_BUDGET_H_
#define SNAKEPIT_VALUE_DECODE_BUDGET_H_

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
// MessagePack and 64 bytes of memory. So the values are limited beside the size of the bytes.
struct DecodeLimits {
  // Memory of the values, as MemoryBytes (memory.h) counts it.
  size_t max_bytes = SIZE_MAX;
  // From then on the result is useless.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::stop_token stop;
};

// The limit for that value of Adapter::max_decoded_bytes. 0 stands for a default that depends on
// the size of the largest messages.
size_t DecodedLimit(size_t max_decoded_bytes, size_t max_message_bytes);

// Counts the memory and the time of one decoding. Not synchronised.
class DecodeBudget {
 public:
  // `limits` must outlive it.
  explicit DecodeBudget(const DecodeLimits& limits)
      : limits_(limits),
        slice_(std::min(kSlice, limits.max_bytes)),
        left_(limits.max_bytes - slice_) {}

  // Call it before you allocate the memory. False when a limit has been passed, and `error` says
  // which: MESSAGE_TOO_LARGE, DEADLINE_EXCEEDED or CANCELLED. It looks at the time once in 256 KiB,
  // and so never for a small message.
  bool Take(size_t bytes) {
    if (bytes > slice_) return TakeSlice(bytes);
    slice_ -= bytes;
    return true;
  }

  // True if so many bytes may be allocated ahead; Take counts them later. Otherwise `error` says
  // why not.
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
  size_t slice_;  // bytes that may be taken before the next look at the time
  size_t left_;   // the bytes beside those
  std::optional<Error> error_;
};

// INTERNAL: the system has no memory for a message of that size.
Error OutOfMemory(size_t message_bytes);

// Calls `decode`, which returns a Result, for a message of that size. OutOfMemory when it throws
// std::bad_alloc.
template <typename Decode>
auto OrOutOfMemory(size_t message_bytes, const Decode& decode) -> decltype(decode()) {
  try {
    return decode();
  } catch (const std::bad_alloc&) {
    return tl::unexpected<Error>(OutOfMemory(message_bytes));
  }
}

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_DECODE_BUDGET_H_
