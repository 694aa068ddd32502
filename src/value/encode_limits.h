// Limits on the time and the size of an encoding.
#ifndef SNAKEPIT_VALUE_ENCODE_LIMITS_H_
#define SNAKEPIT_VALUE_ENCODE_LIMITS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "snakepit/error.h"

namespace snakepit {

struct EncodeLimits {
  size_t max_bytes = SIZE_MAX;  // appended bytes; a last text may go beyond
  // From then on the result is useless.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::stop_token stop;
};

// An encoder asks it now and then. Not synchronised.
class EncodeBudget {
 public:
  // Both must outlive it.
  EncodeBudget(const EncodeLimits& limits, const std::string& out)
      : limits_(limits), out_(out), start_(out.size()), next_look_(start_ + kSlice) {}

  // True if the encoder may go on. Otherwise `error` says why not: MESSAGE_TOO_LARGE,
  // DEADLINE_EXCEEDED or CANCELLED. It looks once in 256 KiB, and so never for a small message.
  bool Holds() { return out_.size() < next_look_ || Look(); }

  const std::optional<Error>& error() const { return error_; }

 private:
  static constexpr size_t kSlice = 256 * 1024;

  bool Look();

  const EncodeLimits& limits_;
  const std::string& out_;
  const size_t start_;
  size_t next_look_;
  std::optional<Error> error_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_ENCODE_LIMITS_H_
