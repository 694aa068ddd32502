// The limits of the core: on the wait for an exit, on starts at a time, on memory.
#include <gtest/gtest.h>

#include "src/core/testing/fixture.h"

namespace snakepit {
namespace {

// --- A process whose exit does not come --------------------------------------------------------

TEST_F(CoreTest, AKilledProcessThatDoesNotEndIsDisowned) {
  Begin(1);
  const ProcessNumber held = ProcessOf(0);
  Unusable(held);
  Pass(Core::kKillLimit - milliseconds(1));
  EXPECT_TRUE(disowned_.empty());
  Take(&spawned_);
  Pass(milliseconds(1));
  EXPECT_EQ(disowned_, std::vector<ProcessNumber>{held});
  PassBackOff();
  ASSERT_EQ(spawned_.size(), 1u);
  Ready(spawned_[0].process);
  EXPECT_EQ(WorkerOf(Submit()), 0);
  EXPECT_EQ(core_->roster().counts().crashes, 1);
  Exit(held);  // late
  EXPECT_EQ(StateOf(0), WorkerState::kReady);
  EXPECT_EQ(core_->roster().counts().crashes, 1);
}

TEST_F(CoreTest, TheCallsOfADisownedProcessAreLost) {
  options_.call_timeout = std::chrono::hours(1);
  Begin(1);
  const CallId call = Submit();
  Unusable(ProcessOf(0));
  Pass(Core::kKillLimit);
  EXPECT_EQ(Ended(call), nullptr) << "its transport has not reported yet";
  End(call, CallReport::kLost);
  ASSERT_NE(Ended(call), nullptr);
  EXPECT_EQ(Ended(call)->why, EndCall::Why::kWorkerLost);
  EXPECT_FALSE(Ended(call)->exit.has_value());
}

TEST_F(CoreTest, AStopEndsThoughAProcessDoesNot) {
  Begin(2);
  core_->Stop(now_);
  Pass(options_.stop_grace);
  Exit(ProcessOf(1));
  EXPECT_FALSE(core_->roster().AllGone());
  Pass(Core::kKillLimit);
  EXPECT_TRUE(core_->roster().AllGone());
  EXPECT_EQ(core_->NextWake(), std::nullopt);
}

TEST_F(CoreTest, ALostCallWaitsForTheExitNotPastItsDeadline) {
  options_.call_timeout = milliseconds(1000);
  Begin(1);
  const CallId call = Submit();
  Pass(milliseconds(600));
  End(call, CallReport::kLost);
  Pass(milliseconds(399));
  EXPECT_EQ(Ended(call), nullptr);
  Pass(milliseconds(1));
  ASSERT_NE(Ended(call), nullptr);
  EXPECT_EQ(Ended(call)->why, EndCall::Why::kWorkerLost);
  EXPECT_FALSE(Ended(call)->exit.has_value());
}

TEST_F(CoreTest, ALostCallWaitsForTheExitForALimitedTime) {
  options_.call_timeout = std::chrono::hours(1);
  Begin(1);
  const CallId call = Submit();
  End(call, CallReport::kLost);
  Pass(Core::kExitReportLimit - milliseconds(1));
  EXPECT_EQ(Ended(call), nullptr);
  Pass(milliseconds(1));
  EXPECT_NE(Ended(call), nullptr);
  EXPECT_EQ(InFlight(), std::vector<int>{0});
}

TEST_F(CoreTest, AnExitInTimeExplainsTheLoss) {
  Begin(1);
  const CallId call = Submit();
  End(call, CallReport::kLost);
  Exit(ProcessOf(0), {.code = 3});
  ASSERT_NE(Ended(call), nullptr);
  EXPECT_EQ(Ended(call)->exit, (ExitStatus{.code = 3}));
  Pass(Core::kExitReportLimit);  // its timer is gone, too
}

// --- Reasons to kill or replace a process -------------------------------------------------------

TEST_F(CoreTest, AKillSaysWhy) {
  options_.health.interval = milliseconds(1000);
  Begin(5);
  Unusable(ProcessOf(0));
  const CallId overran = Submit(), garbled = Submit(), lost = Submit();
  End(overran, CallReport::kFailedOverran);
  End(garbled, CallReport::kFailedUnusable);
  End(lost, CallReport::kLost);
  Pass(Core::kExitGrace);
  Pass(options_.health.interval);
  HealthReported(ProcessOf(4), HealthReport::kSilent);
  EXPECT_EQ(kill_reasons_,
            (std::vector{KillReason::kNotStarted, KillReason::kOverran, KillReason::kOutOfStep,
                         KillReason::kConnectionClosed, KillReason::kSilent}));
}

TEST_F(CoreTest, AKillAtTheEndOfThePoolSaysWhy) {
  Begin(2);
  Submit();
  core_->Stop(now_);
  Pass(options_.stop_grace);
  EXPECT_EQ(kill_reasons_, (std::vector{KillReason::kHadCalls, KillReason::kIgnoredEnd}));
}

TEST_F(CoreTest, AReplacementSaysWhy) {
  options_.recycle.max_calls = 1;
  Begin(2);
  End(Submit());
  Resize(1);
  ASSERT_EQ(replaced_.size(), 2u);
  EXPECT_EQ(replaced_[0].why, ReplaceReason::kMaxCalls);
  EXPECT_EQ(replaced_[1].why, ReplaceReason::kSurplus);
}

// --- Starts at a time --------------------------------------------------------------------------

class StartsTest : public CoreTest {
 protected:
  void Start(int workers, int max_starting) {
    options_.workers = workers;
    options_.max_starting = max_starting;
    core_.emplace(options_, kSeed);
    core_->Start(now_);
    Pass(milliseconds(0));
  }
};

TEST_F(StartsTest, NoMoreWorkersStartAtATimeThanMay) {
  Start(5, 2);
  for (size_t started = 2; started <= 5; ++started) {
    ASSERT_EQ(spawned_.size(), started);
    Ready(spawned_[started - 2].process);
  }
  EXPECT_EQ(spawned_.size(), 5u);
  Ready(spawned_[4].process);
  EXPECT_TRUE(core_->roster().AllReady());
}

TEST_F(StartsTest, AFailedStartMakesRoomForTheNext) {
  Start(2, 1);
  ASSERT_EQ(spawned_.size(), 1u);
  Exit(spawned_[0].process);
  ASSERT_EQ(spawned_.size(), 2u);
  EXPECT_EQ(spawned_[1].worker_id, 1);
  PassBackOff();
  EXPECT_EQ(spawned_.size(), 2u) << "the first waits for its turn";
  Ready(spawned_[1].process);
  ASSERT_EQ(spawned_.size(), 3u);
  EXPECT_EQ(spawned_[2].worker_id, 0);
}

TEST_F(StartsTest, AReplacementWaitsForItsTurn) {
  options_.recycle.max_calls = 1;
  Start(2, 1);
  Ready(spawned_[0].process);
  ASSERT_EQ(spawned_.size(), 2u);
  End(Submit());  // worker 0 is to be replaced, while worker 1 starts
  EXPECT_EQ(spawned_.size(), 2u);
  Ready(spawned_[1].process);
  ASSERT_EQ(spawned_.size(), 3u);
  EXPECT_EQ(spawned_[2].worker_id, 0);
}

TEST_F(StartsTest, AStopEndsWorkersThatWaitForTheirStart) {
  Start(3, 1);
  core_->Stop(now_);
  Exit(spawned_[0].process, {});
  EXPECT_TRUE(core_->roster().AllGone());
}

// --- Memory ------------------------------------------------------------------------------------

class MemoryTest : public CoreTest {
 protected:
  MemoryTest() {
    options_.health.interval = milliseconds(1000);
    options_.recycle.max_total_rss_bytes = 1000;
    options_.recycle.warm_up_calls = 1;
  }

  // Runs a round in which the workers have so much memory.
  void Round(const std::vector<int64_t>& rss_bytes) {
    Take(&measured_);
    Pass(options_.health.interval);
    ASSERT_EQ(measured_.size(), rss_bytes.size());
    for (size_t id = 0; id < rss_bytes.size(); ++id) MemoryMeasured(ProcessOf(id), rss_bytes[id]);
  }

  void WarmUp(int workers) {
    for (int i = 0; i < workers; ++i) End(Submit());
  }
};

TEST_F(MemoryTest, TheLargestIsReplacedWhenAllHaveTooMuch) {
  Begin(3);
  WarmUp(3);
  Round({300, 400, 300});
  EXPECT_TRUE(replaced_.empty());
  const ProcessNumber largest = ProcessOf(1);
  Round({300, 401, 300});
  ASSERT_EQ(replaced_.size(), 1u);
  EXPECT_EQ(replaced_[0].process, largest);
  EXPECT_EQ(replaced_[0].why, ReplaceReason::kTotalRss);
}

TEST_F(MemoryTest, OnlyOneIsReplacedAtATime) {
  Begin(2);
  WarmUp(2);
  Round({900, 800});
  EXPECT_EQ(replaced_.size(), 1u);
  Round({900, 800});
  EXPECT_EQ(replaced_.size(), 1u) << "the first is not replaced yet";
}

TEST_F(MemoryTest, AWorkerThatIsNotWarmIsLeftAlone) {
  Begin(2);
  Round({900, 800});
  EXPECT_TRUE(replaced_.empty()) << "a fresh one would have as much";
  End(Submit());
  Round({900, 800});
  ASSERT_EQ(replaced_.size(), 1u);
  EXPECT_EQ(replaced_[0].process, ProcessOf(0));
}

TEST_F(MemoryTest, ItIsLookedAtWhenAllHaveBeenMeasured) {
  Begin(2);
  WarmUp(2);
  Pass(options_.health.interval);
  MemoryMeasured(ProcessOf(0), 1001);
  EXPECT_TRUE(replaced_.empty());
  MemoryMeasured(ProcessOf(1), 2000);
  ASSERT_EQ(replaced_.size(), 1u);
  EXPECT_EQ(replaced_[0].process, ProcessOf(1));
}

}  // namespace
}  // namespace snakepit
