// The breaker: workers that end too often are not started again.
#include <gtest/gtest.h>

#include "src/core/core.h"
#include "src/core/testing/fixture.h"

namespace snakepit {
namespace {

// --- The breaker -------------------------------------------------------------------------------

class BreakerTest : public CoreTest {
 protected:
  BreakerTest() {
    options_.restart.burst = 3;
    options_.restart.initial_backoff = options_.restart.max_backoff = milliseconds(10);
  }

  // Ends each process that the worker starts, until the breaker is open.
  void Open(int id) {
    while (breaker() == BreakerState::kClosed) {
      Exit(ProcessOf(id));
      if (breaker() == BreakerState::kClosed) PassBackOff();
    }
  }
};

TEST_F(BreakerTest, OpensAfterABurstOfEndsWithoutUsefulWork) {
  Begin(1);
  for (int i = 0; i < 3; ++i) {
    Exit(ProcessOf(0));
    EXPECT_EQ(breaker(), BreakerState::kClosed);
    PassBackOff();
  }
  Take(&spawned_);
  Exit(ProcessOf(0));
  EXPECT_EQ(breaker(), BreakerState::kOpen);
  EXPECT_EQ(core_->supervisor().breaker().times_opened(), 1);
  Pass(options_.restart.breaker_cooldown - milliseconds(1));
  EXPECT_TRUE(spawned_.empty());
}

TEST_F(BreakerTest, EndsThatLieFartherApartThanTheWindowDoNotOpenIt) {
  Begin(1);
  for (int i = 0; i < 20; ++i) {
    Exit(ProcessOf(0));
    Pass(options_.restart.burst_window / 2);
    Ready(ProcessOf(0));
  }
  EXPECT_EQ(breaker(), BreakerState::kClosed);
}

TEST_F(BreakerTest, EndsAfterUsefulWorkOpenItOnlyBySustainedLimit) {
  options_.restart.sustained = 10;
  Begin(1);
  for (int i = 0; i < 11; ++i) {
    EXPECT_EQ(breaker(), BreakerState::kClosed) << i;
    End(Submit());
    Exit(ProcessOf(0));
    Pass(milliseconds(0));
    if (breaker() == BreakerState::kClosed) Ready(ProcessOf(0));
  }
  EXPECT_EQ(breaker(), BreakerState::kOpen);
}

TEST_F(BreakerTest, TheLimitsAreTimesTheNumberOfWorkers) {
  Begin(4);
  for (int i = 0; i < 12; ++i) {
    Exit(ProcessOf(i % 4));
    PassBackOff();
    Ready(ProcessOf(i % 4));
  }
  EXPECT_EQ(breaker(), BreakerState::kClosed);
  Exit(ProcessOf(0));
  EXPECT_EQ(breaker(), BreakerState::kOpen);
}

TEST_F(BreakerTest, CallsAreRefusedAndThoseQueuedEndInsteadOfHanging) {
  Begin(1);
  Exit(ProcessOf(0));
  const CallId queued = Submit();
  PassBackOff();
  Open(0);
  ASSERT_NE(Ended(queued), nullptr);
  EXPECT_EQ(Ended(queued)->why, EndCall::Why::kBreakerOpen);
  EXPECT_EQ(Refused(), Refusal::kBreakerOpen);
}

TEST_F(BreakerTest, WhileOthersServeCallsAreAccepted) {
  Begin(2);
  Open(0);
  const CallId call = Submit(), queued = Submit();
  EXPECT_EQ(WorkerOf(call), 1);
  EXPECT_EQ(Ended(queued), nullptr);
  Exit(ProcessOf(1));
  EXPECT_NE(Ended(queued), nullptr) << "now none serves";
}

TEST_F(BreakerTest, OneProbeIsStartedAndAnAnswerClosesIt) {
  Begin(3);
  Open(0);
  Exit(ProcessOf(1));
  Exit(ProcessOf(2));
  Take(&spawned_);
  Pass(options_.restart.breaker_cooldown);
  EXPECT_EQ(breaker(), BreakerState::kHalfOpen);
  ASSERT_EQ(spawned_.size(), 1u);
  EXPECT_EQ(Refused(), Refusal::kBreakerOpen) << "while the probe starts";
  Ready(spawned_[0].process);
  EXPECT_EQ(breaker(), BreakerState::kHalfOpen);
  End(Submit());
  EXPECT_EQ(breaker(), BreakerState::kClosed);
  EXPECT_EQ(spawned_.size(), 3u) << "the others start";
}

TEST_F(BreakerTest, ACallThatWasNotSentIsNoUsefulWork) {
  Begin(1);
  Open(0);
  Pass(options_.restart.breaker_cooldown);
  Ready(ProcessOf(0));
  End(Submit(), CallReport::kUnsent);
  EXPECT_EQ(breaker(), BreakerState::kHalfOpen);
  Exit(ProcessOf(0));
  EXPECT_EQ(breaker(), BreakerState::kOpen);
}

TEST_F(BreakerTest, AProbeThatStaysReadyClosesItWithoutACall) {
  Begin(1);
  Open(0);
  Pass(options_.restart.breaker_cooldown);
  Ready(ProcessOf(0));
  Pass(options_.restart.burst_window - milliseconds(1));
  EXPECT_EQ(breaker(), BreakerState::kHalfOpen);
  Pass(milliseconds(1));
  EXPECT_EQ(breaker(), BreakerState::kClosed);
  EXPECT_EQ(core_->NextWake(), std::nullopt);
}

TEST_F(BreakerTest, AProbeThatEndsOpensItAgain) {
  Begin(1);
  Open(0);
  for (int round = 2; round < 5; ++round) {
    Pass(options_.restart.breaker_cooldown);
    Ready(ProcessOf(0));
    Exit(ProcessOf(0));
    EXPECT_EQ(breaker(), BreakerState::kOpen);
    EXPECT_EQ(core_->supervisor().breaker().times_opened(), round);
  }
}

TEST_F(BreakerTest, AProbeThatIsNotWantedAnyMoreMakesRoomForAnother) {
  Begin(2);
  Open(1);
  Exit(ProcessOf(0));
  Pass(options_.restart.breaker_cooldown);  // the probe is worker 0
  Ready(ProcessOf(0));
  Resize(1);
  EXPECT_EQ(breaker(), BreakerState::kHalfOpen);
  End(Submit());
  EXPECT_EQ(breaker(), BreakerState::kClosed);
}

}  // namespace
}  // namespace snakepit
