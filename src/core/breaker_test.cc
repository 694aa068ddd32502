#include "src/core/breaker.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class BreakerTest : public testing::Test {
 protected:
  BreakerTest() {
    options_.restart.burst = 2;
    options_.restart.burst_window = seconds(10);
    options_.restart.sustained = 4;
    options_.restart.sustained_window = seconds(60);
    options_.restart.breaker_cooldown = seconds(5);
  }

  void End(int processes, bool useful = false, int workers = 1) {
    for (int i = 0; i < processes; ++i) breaker_.ProcessEnded(useful, workers, now_);
  }
  void Open() {
    End(options_.restart.burst + 1);
    ASSERT_EQ(breaker_.state(), BreakerState::kOpen);
  }

  PoolOptions options_;
  Breaker::Time now_{};
  Breaker breaker_{options_};
};

TEST_F(BreakerTest, TheLimitItselfIsAllowedAndOneMoreOpensIt) {
  End(2);
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
  EXPECT_EQ(breaker_.timer(), std::nullopt);
  End(1);
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_EQ(breaker_.timer(), now_ + seconds(5)) << "the cooldown";
  EXPECT_EQ(breaker_.futile_ends(), 3u);
  EXPECT_EQ(breaker_.times_opened(), 1);
}

TEST_F(BreakerTest, AnEndCountsForAsLongAsTheWindowAndNoLonger) {
  options_.restart.sustained = 100;
  End(2);
  now_ += seconds(10) + milliseconds(1);
  End(1);
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
  EXPECT_EQ(breaker_.futile_ends(), 1u);
  EXPECT_EQ(breaker_.ends(), 3u) << "their window is longer";
  End(1);
  now_ += seconds(10);
  End(1);
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
}

TEST_F(BreakerTest, UsefulEndsCountOnlyForTheSustainedLimit) {
  End(4, /*useful=*/true);
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
  EXPECT_EQ(breaker_.futile_ends(), 0u);
  End(1, /*useful=*/true);
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_EQ(breaker_.ends(), 5u);
}

TEST_F(BreakerTest, TheLimitsAreThoseOfEachWorker) {
  End(6, /*useful=*/false, /*workers=*/3);
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
  End(1, /*useful=*/false, /*workers=*/3);
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
}

TEST_F(BreakerTest, WhileItIsNotClosedNoEndCounts) {
  Open();
  now_ += seconds(1);
  End(1);
  EXPECT_EQ(breaker_.ends(), 3u);
  EXPECT_EQ(breaker_.timer(), now_ + seconds(4)) << "the cooldown does not begin anew";
  breaker_.BeginProbe();
  End(3);
  EXPECT_EQ(breaker_.state(), BreakerState::kHalfOpen);
}

TEST_F(BreakerTest, AProbeHasNoTimerUntilItIsReady) {
  Open();
  breaker_.BeginProbe();
  EXPECT_EQ(breaker_.timer(), std::nullopt);
  now_ += seconds(1);
  breaker_.ProbeReady(now_);
  EXPECT_EQ(breaker_.state(), BreakerState::kHalfOpen);
  EXPECT_EQ(breaker_.timer(), now_ + seconds(10)) << "the burst window";
}

TEST_F(BreakerTest, AProbeThatFailsOpensItForAnotherCooldown) {
  Open();
  breaker_.BeginProbe();
  now_ += seconds(1);
  breaker_.ProbeFailed(now_);
  EXPECT_EQ(breaker_.state(), BreakerState::kOpen);
  EXPECT_EQ(breaker_.timer(), now_ + seconds(5));
  EXPECT_EQ(breaker_.times_opened(), 2);
}

TEST_F(BreakerTest, OnceItIsClosedTheEndsBeforeAreForgotten) {
  Open();
  breaker_.BeginProbe();
  breaker_.ProbeReady(now_);
  breaker_.Close();
  EXPECT_EQ(breaker_.timer(), std::nullopt);
  End(2);
  EXPECT_EQ(breaker_.state(), BreakerState::kClosed);
  EXPECT_EQ(breaker_.ends(), 2u);
  EXPECT_EQ(breaker_.times_opened(), 1) << "the total stays";
}

}  // namespace
}  // namespace snakepit
