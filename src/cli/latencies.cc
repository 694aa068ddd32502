#include "src/cli/latencies.h"

#include <algorithm>
#include <cmath>

namespace snakepit {
namespace {

constexpr double kLeastNs = 100;
constexpr double kWidth = 1.01;

}  // namespace

void Latencies::Add(std::chrono::nanoseconds latency) {
  const double ns = std::max(kLeastNs, static_cast<double>(latency.count()));
  const int bucket = static_cast<int>(std::log(ns / kLeastNs) / std::log(kWidth));
  ++buckets_[std::min(bucket, kBuckets - 1)];
  ++count_;
}

void Latencies::Merge(const Latencies& other) {
  for (int i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
}

std::chrono::nanoseconds Latencies::Percentile(double percent) const {
  const auto rank = static_cast<int64_t>(std::ceil(static_cast<double>(count_) * percent / 100));
  int64_t seen = 0;
  for (int i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    // middle of the bucket
    if (seen > 0 && seen >= rank) {
      return std::chrono::nanoseconds(std::llround(kLeastNs * std::pow(kWidth, i + 0.5)));
    }
  }
  return std::chrono::nanoseconds(0);
}

}  // namespace snakepit
