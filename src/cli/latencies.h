// Latencies of calls: their percentiles, in constant memory.
#ifndef SNAKEPIT_CLI_LATENCIES_H_
#define SNAKEPIT_CLI_LATENCIES_H_

#include <array>
#include <chrono>
#include <cstdint>

namespace snakepit {

// Counts in buckets that are 1% wide, from 100 ns to over a day. Not synchronised.
class Latencies {
 public:
  void Add(std::chrono::nanoseconds latency);
  void Merge(const Latencies& other);

  int64_t count() const { return count_; }
  // The latency that `percent` of the calls (above 0, up to 100) do not exceed, within 1%; 0
  // without calls.
  std::chrono::nanoseconds Percentile(double percent) const;

 private:
  static constexpr int kBuckets = 2'800;

  std::array<int64_t, kBuckets> buckets_{};
  int64_t count_ = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_LATENCIES_H_
