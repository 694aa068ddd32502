// A thousand calls in flight on one worker, each with its own reply. PROTOCOL.md 6.8.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>

#include "snakepit/pool.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using testing::FixtureKind;

constexpr int kCalls = 1'000;

class InFlightTest : public ::testing::TestWithParam<FixtureKind> {};

// The handlers return when all of them run. With fewer in flight, all would miss the deadline.
TEST_P(InFlightTest, AThousandCallsAreMatched) {
  auto pool = Pool::Start({.adapter = testing::FixtureOfKind(GetParam(), kCalls), .workers = 1});
  ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
  EXPECT_EQ(pool->Workers()[0].capacity, kCalls);
  std::atomic<int> left = kCalls;
  std::atomic<int> wrong = 0;
  std::promise<void> all;
  for (int i = 0; i < kCalls; ++i) {
    pool->Submit("meet", Value::Map{{"count", kCalls}, {"i", i}},
                 [&, i](Result<Value> result) {
                   if (!result || *result != Value(i)) {
                     if (++wrong == 1)
                       ADD_FAILURE()
                           << i << ": " << (result ? result->ToJson() : result.error().ToString());
                   }
                   if (--left == 0) all.set_value();
                 },
                 {.timeout = std::chrono::seconds(60)});
  }
  all.get_future().get();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(pool->Stats().restarts, 0);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, InFlightTest,
                         ::testing::Values(FixtureKind::kCppJson, FixtureKind::kCppMsgpack,
                                           FixtureKind::kCppGrpc),
                         [](const auto& info) {
                           return std::string(testing::FixtureKindName(info.param));
                         });

}  // namespace
}  // namespace snakepit
