#include "src/value/encode_limits.h"

namespace snakepit {

bool EncodeBudget::Look() {
  next_look_ = out_.size() + kSlice;
  if (out_.size() - start_ > limits_.max_bytes) {
    error_ = {.code = ErrorCode::kMessageTooLarge,
              .message = "a message of over " + std::to_string(out_.size() - start_) +
                         " bytes is over the limit of " + std::to_string(limits_.max_bytes)};
  } else if (limits_.stop.stop_requested()) {
    error_ = {.code = ErrorCode::kCancelled,
              .message = "the caller gave the call up while its arguments were encoded"};
  } else if (std::chrono::steady_clock::now() >= limits_.deadline) {
    error_ = {.code = ErrorCode::kDeadlineExceeded,
              .message =
                  "the deadline passed while the arguments of the call were encoded, it was "
                  "not sent"};
  }
  return !error_;
}

}  // namespace snakepit
