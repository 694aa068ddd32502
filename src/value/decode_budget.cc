#include "src/value/decode_budget.h"

#include <string>

namespace snakepit {

size_t DecodedLimit(size_t max_decoded_bytes, size_t max_message_bytes) {
  constexpr size_t kLeast = size_t{512} << 20;
  constexpr size_t kTimes = 8;
  if (max_decoded_bytes != 0) return max_decoded_bytes;
  return std::max(kLeast, kTimes * max_message_bytes);
}

bool DecodeBudget::TakeSlice(size_t bytes) {
  if (!Allows(bytes)) return false;
  if (limits_.stop.stop_requested()) {
    return Fail({.code = ErrorCode::kCancelled,
                 .message = "the caller gave the call up while the message was decoded"});
  }
  if (std::chrono::steady_clock::now() >= limits_.deadline) {
    return Fail({.code = ErrorCode::kDeadlineExceeded,
                 .message = "the deadline passed while the message was decoded"});
  }
  left_ -= bytes - slice_;
  slice_ = std::min(kSlice, left_);
  left_ -= slice_;
  return true;
}

Error DecodeBudget::TooLarge(size_t bytes) const {
  const size_t taken = limits_.max_bytes - slice_ - left_;
  return {.code = ErrorCode::kMessageTooLarge,
          .message = "decoded, the message takes " + std::to_string(taken + bytes) +
                     " bytes of memory or more, over the limit max_decoded_bytes of " +
                     std::to_string(limits_.max_bytes)};
}

Error OutOfMemory(size_t message_bytes) {
  return {.code = ErrorCode::kInternal,
          .message = "out of memory for a message of " + std::to_string(message_bytes) + " bytes"};
}

}  // namespace snakepit
