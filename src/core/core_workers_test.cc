// Workers from their start to their end.
#include <gtest/gtest.h>

#include <algorithm>

#include "src/core/core.h"
#include "src/core/testing/fixture.h"

namespace snakepit {
namespace {

// --- Workers -----------------------------------------------------------------------------------

TEST_F(CoreTest, ACallOfALostSessionWorkerGoesToAnotherAtOnce) {
  const auto lose = [this](int way, ProcessNumber process) {
    if (way == 0) core_->ConnectionLost(process, now_);
    if (way == 1) core_->Unusable(process, now_);
    if (way == 2) core_->Exited(process, ExitStatus{.signal = 9}, now_);
  };
  for (int way = 0; way < 3; ++way) {
    SCOPED_TRACE(way);
    Begin(2);
    const CallId first = Submit("s");
    const int worker = WorkerOf(first);
    const CallId second = Submit("s");
    EXPECT_EQ(WorkerOf(second), -1);
    lose(way, ProcessOf(worker));
    Pass(milliseconds(0));
    EXPECT_EQ(WorkerOf(second), 1 - worker);
    dispatched_.clear();
  }
}

TEST_F(CoreTest, NoCallReachesAWorkerThatIsNotReady) {
  Begin(1);
  Exit(ProcessOf(0));
  const CallId call = Submit();
  Pass(options_.restart.initial_backoff);
  ASSERT_EQ(StateOf(0), WorkerState::kStarting);
  EXPECT_EQ(WorkerOf(call), -1);
  Ready(ProcessOf(0));
  EXPECT_EQ(WorkerOf(call), 0);
}

TEST_F(CoreTest, ALostCallEndsOnceItIsKnownHowTheWorkerEnded) {
  Begin(1);
  const CallId call = Submit();
  End(call, CallReport::kLost);
  EXPECT_EQ(Ended(call), nullptr);
  Exit(ProcessOf(0), {.code = 3, .signal = 0});
  ASSERT_NE(Ended(call), nullptr);
  EXPECT_EQ(Ended(call)->why, EndCall::Why::kWorkerLost);
  EXPECT_EQ(Ended(call)->exit, (ExitStatus{.code = 3, .signal = 0}));
  EXPECT_EQ(core_->scheduler().calls(), 0u);
}

TEST_F(CoreTest, ACallWhoseLossIsNoticedAfterTheExitStillLearnsTheStatus) {
  Begin(1);
  const CallId call = Submit();
  Exit(ProcessOf(0), {.code = 0, .signal = 11});
  EXPECT_EQ(Ended(call), nullptr) << "its transport may still have the reply";
  Pass(options_.restart.initial_backoff);
  EXPECT_EQ(StateOf(0), WorkerState::kStarting) << "the replacement does not wait for it";
  End(call, CallReport::kLost);
  ASSERT_NE(Ended(call), nullptr);
  EXPECT_EQ(Ended(call)->exit->signal, 11);
}

TEST_F(CoreTest, AReplyThatWasReadAfterTheExitCounts) {
  Begin(1);
  const CallId call = Submit();
  Exit(ProcessOf(0));
  Pass(options_.restart.initial_backoff);
  Ready(ProcessOf(0));
  const CallId next = Submit();
  End(call, CallReport::kSucceeded);
  EXPECT_EQ(core_->workers()[WorkerIndex{0}].in_flight, 1) << "the new process keeps its own call";
  End(next);
}

TEST_F(CoreTest, AWorkerThatClosesItsConnectionAndLivesOnIsKilled) {
  Begin(1);
  const CallId call = Submit();
  End(call, CallReport::kLost);
  EXPECT_TRUE(killed_.empty());
  Pass(Core::kExitGrace);
  EXPECT_EQ(killed_, std::vector<int>{0});
  Exit(ProcessOf(0));
  EXPECT_NE(Ended(call), nullptr);
}

TEST_F(CoreTest, AWorkerThatOverranADeadlineIsKilledAndReplaced) {
  Begin(1);
  const CallId call = Submit();
  End(call, CallReport::kFailedUnusable);
  EXPECT_EQ(killed_, std::vector<int>{0});
  const CallId next = Submit();
  EXPECT_EQ(WorkerOf(next), -1);
  Exit(ProcessOf(0));
  Pass(options_.restart.initial_backoff);
  Ready(ProcessOf(0));
  EXPECT_EQ(WorkerOf(next), 0);
}

TEST_F(CoreTest, AWorkerThatServedIsReplacedAtOnce) {
  Begin(1);
  End(Submit());
  Exit(ProcessOf(0));
  Pass(milliseconds(0));
  EXPECT_EQ(spawned_.size(), 1u);
}

TEST_F(CoreTest, TheBackoffDoublesUpToItsMaximumAndEndsWithUsefulWork) {
  options_.restart.initial_backoff = milliseconds(100);
  options_.restart.max_backoff = milliseconds(350);
  Begin(1);
  for (int wait : {100, 200, 350, 350}) {
    Take(&spawned_);
    Exit(ProcessOf(0));
    Pass(milliseconds(wait / 2 - 1));
    EXPECT_TRUE(spawned_.empty()) << wait;
    Pass(milliseconds(wait - wait / 2 + 1));
    EXPECT_EQ(spawned_.size(), 1u) << wait;
    Ready(ProcessOf(0));  // no useful work
  }
  End(Submit());
  Take(&spawned_);
  Exit(ProcessOf(0));
  Pass(milliseconds(0));
  EXPECT_EQ(spawned_.size(), 1u);
}

TEST_F(CoreTest, WorkersThatEndTogetherAreNotStartedTogether) {
  options_.restart.initial_backoff = options_.restart.max_backoff = milliseconds(1000);
  options_.restart.burst = 100;
  Begin(50);
  Take(&spawned_);
  for (int id = 0; id < 50; ++id) Exit(ProcessOf(id));
  size_t most_at_once = 0;
  for (int ms = 0; ms < 1000; ms += 10) {
    Pass(milliseconds(10));
    most_at_once = std::max(most_at_once, Take(&spawned_).size());
  }
  EXPECT_TRUE(std::all_of(core_->workers().begin(), core_->workers().end(),
                          [](const auto& w) { return w.state == WorkerState::kStarting; }));
  EXPECT_LT(most_at_once, 10u);
}

TEST_F(CoreTest, AWorkerThatIsNotReadyInTimeIsReportedAndKilled) {
  Begin(1);
  End(Submit());
  Exit(ProcessOf(0));
  Pass(milliseconds(0));
  Pass(options_.adapter.start_timeout);
  EXPECT_EQ(start_timeouts_, std::vector<int>{0});
  EXPECT_EQ(killed_, std::vector<int>{0});
  EXPECT_EQ(StateOf(0), WorkerState::kKilled);
}

TEST_F(CoreTest, NewsOfAnEarlierProcessIsDropped) {
  Begin(1);
  const ProcessNumber old = ProcessOf(0);
  Exit(old);
  Pass(options_.restart.initial_backoff);
  Ready(old);
  EXPECT_EQ(StateOf(0), WorkerState::kStarting);
  Exit(old);
  core_->Unusable(old, now_);
  core_->ConnectionLost(old, now_);
  EXPECT_EQ(StateOf(0), WorkerState::kStarting);
}

TEST_F(CoreTest, ThePoolComesBackToFullStrengthAfterManyKills) {
  Begin(2);
  for (int round = 0; round < 100; ++round) {
    const int worker = round % 2;
    Exit(ProcessOf(worker));
    Pass(options_.restart.max_backoff);
    Ready(ProcessOf(worker));
    ASSERT_TRUE(core_->roster().AllReady()) << round;
  }
  EXPECT_EQ(core_->seats()[0].restarts, 50);
}

TEST_F(CoreTest, ABootFailureIsToldApartFromACrashAtWork) {
  Begin(1);
  Exit(ProcessOf(0));
  EXPECT_EQ(core_->roster().counts().crashes, 1);
  EXPECT_EQ(core_->roster().counts().boot_failures, 0);
  PassBackOff();
  Exit(ProcessOf(0));
  EXPECT_EQ(core_->roster().counts().crashes, 1);
  EXPECT_EQ(core_->roster().counts().boot_failures, 1);
}

// --- Stopping ----------------------------------------------------------------------------------

TEST_F(CoreTest, AStoppedPoolCancelsWhatIsQueuedAndRefusesNewCalls) {
  Begin(1);
  const CallId running = Submit(), queued = Submit();
  core_->Stop(now_);
  End(running);
  ASSERT_NE(Ended(queued), nullptr);
  EXPECT_EQ(Ended(queued)->why, EndCall::Why::kShutdown);
  auto refused = core_->Submit({.session_id = "", .queue_deadline = now_, .deadline = now_}, now_);
  EXPECT_EQ(refused.error(), Refusal::kClosed);
}

TEST_F(CoreTest, StoppingLetsTheCallInFlightEndAndThenAsksTheWorkerToEnd) {
  Begin(2);
  const CallId running = Submit();
  core_->Stop(now_);
  Pass(milliseconds(0));
  EXPECT_EQ(asked_to_end_, std::vector<int>{1 - WorkerOf(running)});
  End(running);
  EXPECT_EQ(asked_to_end_.size(), 2u);
  Exit(ProcessOf(0), {});
  Exit(ProcessOf(1), {});
  EXPECT_TRUE(core_->roster().AllGone());
  EXPECT_EQ(core_->NextWake(), std::nullopt);
}

TEST_F(CoreTest, AWorkerThatDoesNotEndWithinTheGraceIsKilled) {
  Begin(2);
  const CallId running = Submit();
  core_->Stop(now_);
  Pass(options_.stop_grace);
  EXPECT_EQ(killed_.size(), 2u) << "the busy one, and the one that was asked";
  Exit(ProcessOf(0));
  Exit(ProcessOf(1));
  EXPECT_TRUE(core_->roster().AllGone());
  End(running, CallReport::kLost);
  EXPECT_NE(Ended(running), nullptr);
}

TEST_F(CoreTest, AStoppedPoolStartsNoProcess) {
  Begin(1);
  Exit(ProcessOf(0));
  core_->Stop(now_);
  EXPECT_TRUE(core_->roster().AllGone());
  Take(&spawned_);
  Pass(options_.restart.max_backoff);
  EXPECT_TRUE(spawned_.empty());
}

TEST_F(CoreTest, AWorkerInItsStartIsEndedToo) {
  Begin(1);
  Exit(ProcessOf(0));
  Pass(options_.restart.initial_backoff);
  core_->Stop(now_);
  Pass(milliseconds(0));
  EXPECT_EQ(asked_to_end_, std::vector<int>{0});
  Ready(ProcessOf(0));
  EXPECT_EQ(StateOf(0), WorkerState::kStopping);
}

}  // namespace
}  // namespace snakepit
