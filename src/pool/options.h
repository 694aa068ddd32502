// The ranges of a pool's options: one table that checks them, prints them in errors, and that a
// test holds the comments of the public headers to.
#ifndef SNAKEPIT_POOL_OPTIONS_H_
#define SNAKEPIT_POOL_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "snakepit/options.h"

namespace snakepit {

inline constexpr std::chrono::milliseconds kLongestTimeout = std::chrono::hours(24);
inline constexpr int kMaxWorkers = 1'000;

enum class Unit { kCount, kBytes, kMilliseconds };

struct Range {
  static constexpr int64_t kNoMaximum = std::numeric_limits<int64_t>::max();

  std::string_view name;  // the field's path in PoolOptions: "queue.timeout"
  int64_t minimum = 0;
  int64_t maximum = kNoMaximum;
  Unit unit = Unit::kCount;
  // Meaning of 0 where that is another than the number's own: "never".
  std::string_view zero;

  // "0 ms (never) to 24 h", "1 or more", "1 KiB to 2 GiB - 1".
  std::string ToString() const;
  // INVALID_ARGUMENT: "queue.timeout must be 0 ms to 24 h, not 25 h".
  Result<void> Check(int64_t value) const;
};

// The range of a duration in milliseconds.
constexpr Range TimeRange(std::string_view name, int64_t minimum_ms,
                          std::chrono::milliseconds maximum = kLongestTimeout,
                          std::string_view zero = {}) {
  return {name, minimum_ms, maximum.count(), Unit::kMilliseconds, zero};
}

// A field of PoolOptions with its range.
struct OptionRange {
  Range range;
  // Nothing: the options have no such field, for it belongs to the other transport.
  std::optional<int64_t> (*value)(const PoolOptions&);
};

std::span<const OptionRange> OptionRanges();

// The options with their defaults filled in, or INVALID_ARGUMENT that names the first bad field.
Result<PoolOptions> Complete(PoolOptions options);

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_OPTIONS_H_
