#include "src/cli/latencies.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

void ExpectNear(nanoseconds actual, nanoseconds expected) {
  const auto wanted = static_cast<double>(expected.count());
  EXPECT_NEAR(static_cast<double>(actual.count()), wanted, 0.01 * wanted);
}

TEST(Latencies, PercentilesAreThoseOfTheSamples) {
  Latencies latencies;
  for (int us = 1; us <= 1'000; ++us) latencies.Add(microseconds(us));
  EXPECT_EQ(latencies.count(), 1'000);
  ExpectNear(latencies.Percentile(50), microseconds(500));
  ExpectNear(latencies.Percentile(99), microseconds(990));
  ExpectNear(latencies.Percentile(100), microseconds(1'000));
}

TEST(Latencies, OneSampleIsEveryPercentile) {
  Latencies latencies;
  latencies.Add(microseconds(70));
  ExpectNear(latencies.Percentile(1), microseconds(70));
  ExpectNear(latencies.Percentile(99), microseconds(70));
}

TEST(Latencies, NoneGiveZero) { EXPECT_EQ(Latencies().Percentile(50), nanoseconds(0)); }

TEST(Latencies, TakesNothingAndADay) {
  Latencies latencies;
  latencies.Add(nanoseconds(0));
  latencies.Add(hours(24));
  ExpectNear(latencies.Percentile(100), hours(24));
}

TEST(Latencies, MergedCountsAreSums) {
  Latencies low, high;
  for (int i = 0; i < 99; ++i) low.Add(microseconds(10));
  high.Add(microseconds(900));
  low.Merge(high);
  EXPECT_EQ(low.count(), 100);
  ExpectNear(low.Percentile(99), microseconds(10));
  ExpectNear(low.Percentile(100), microseconds(900));
}

}  // namespace
}  // namespace snakepit
