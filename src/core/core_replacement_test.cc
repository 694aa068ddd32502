// Health checks, and the replacement of workers: by a successor, or by a resize.
#include <gtest/gtest.h>

#include <algorithm>

#include "src/core/core.h"
#include "src/core/testing/fixture.h"

namespace snakepit {
namespace {

// --- Health ------------------------------------------------------------------------------------

class HealthTest : public CoreTest {
 protected:
  HealthTest() { options_.health.interval = milliseconds(1000); }

  void Round() {
    Take(&checked_);
    Take(&measured_);
    Pass(options_.health.interval);
  }
};

TEST_F(HealthTest, EveryWorkerIsAskedAtEveryRoundOnceAtATime) {
  Begin(2);
  Submit();
  Round();
  EXPECT_EQ(checked_.size(), 2u) << "a busy one, too";
  HealthReported(checked_[0], HealthReport::kHealthy);
  const ProcessNumber answered = checked_[0];
  Round();
  EXPECT_EQ(checked_, std::vector<ProcessNumber>{answered}) << "the other has not answered yet";
}

TEST_F(HealthTest, ASilentWorkerIsKilledAndReplacedAndItsCallsAreLost) {
  Begin(2);
  const CallId call = Submit();
  const ProcessNumber process = ProcessOf(WorkerOf(call));
  Round();
  HealthReported(process, HealthReport::kSilent);
  EXPECT_EQ(killed_, std::vector<int>{WorkerOf(call)});
  End(call, CallReport::kLost);
  Exit(process);
  EXPECT_EQ(Ended(call)->why, EndCall::Why::kWorkerLost);
  EXPECT_EQ(core_->roster().counts().crashes, 1);
  PassBackOff();
  EXPECT_EQ(StateOf(WorkerOf(call)), WorkerState::kStarting);
}

TEST_F(HealthTest, AnIdleWorkerWhoseConnectionIsFoundClosedIsReplaced) {
  Begin(1);
  const CallId call = Submit();
  Round();
  HealthReported(ProcessOf(0), HealthReport::kLost);
  EXPECT_EQ(StateOf(0), WorkerState::kReady) << "the transport of its call will report";
  End(call);
  Round();
  HealthReported(ProcessOf(0), HealthReport::kLost);
  EXPECT_EQ(StateOf(0), WorkerState::kStopping);
  Pass(Core::kExitGrace);
  EXPECT_EQ(killed_, std::vector<int>{0});
}

TEST_F(HealthTest, AWorkerThatIsNotWellGetsNoCallsUntilItIsWellAgain) {
  Begin(1);
  const CallId running = Submit();
  Round();
  HealthReported(ProcessOf(0), HealthReport::kUnhealthy);
  EXPECT_EQ(StateOf(0), WorkerState::kUnready);
  const CallId queued = Submit();
  End(running);
  EXPECT_EQ(WorkerOf(queued), -1);
  Round();
  HealthReported(ProcessOf(0), HealthReport::kHealthy);
  EXPECT_EQ(WorkerOf(queued), 0);
}

TEST_F(HealthTest, OneThatStaysUnwellIsReplaced) {
  Begin(1);
  Take(&spawned_);
  for (int i = 0; i < Core::kUnhealthyLimit; ++i) {
    EXPECT_TRUE(spawned_.empty()) << i;
    Round();
    HealthReported(ProcessOf(0), HealthReport::kUnhealthy);
  }
  ASSERT_EQ(spawned_.size(), 1u);
  Ready(spawned_[0].process);
  EXPECT_EQ(asked_to_end_.size(), 1u);
  EXPECT_EQ(StateOf(0), WorkerState::kReady);
}

TEST_F(HealthTest, ACheckOfALegacyWorkerTakesThePlaceOfACall) {
  options_.workers = 1;
  core_.emplace(options_, kSeed);
  core_->Start(now_);
  core_->Ready(1, 1, /*checks_while_busy=*/false, now_);
  ids_[1] = 0;
  const CallId running = Submit();
  Round();
  EXPECT_TRUE(checked_.empty());
  End(running);
  Round();
  ASSERT_EQ(checked_.size(), 1u);
  const CallId call = Submit();
  EXPECT_EQ(WorkerOf(call), -1) << "the check has the worker";
  HealthReported(1, HealthReport::kHealthy);
  EXPECT_EQ(WorkerOf(call), 0);
}

TEST_F(HealthTest, TheAnswerOfAnEarlierProcessIsDropped) {
  Begin(1);
  const ProcessNumber old = ProcessOf(0);
  Round();
  Exit(old);
  PassBackOff();
  HealthReported(old, HealthReport::kSilent);
  EXPECT_EQ(StateOf(0), WorkerState::kStarting);
}

// --- Replacement -------------------------------------------------------------------------------

class ReplacementTest : public HealthTest {
 protected:
  // Lets the one successor that is starting become ready, and its predecessor end.
  void Finish() {
    ASSERT_EQ(spawned_.size(), 1u);
    const SpawnWorker spawn = Take(&spawned_)[0];
    const ProcessNumber old = ProcessOf(spawn.worker_id);
    Ready(spawn.process);
    Exit(old, {});
  }
};

TEST_F(ReplacementTest, TheSuccessorIsReadyBeforeTheOldOneDrains) {
  options_.recycle.max_age = milliseconds(10'000);
  Begin(1);
  Take(&spawned_);
  Pass(milliseconds(10'000));
  ASSERT_EQ(spawned_.size(), 1u);
  const ProcessNumber old = ProcessOf(0);
  const CallId call = Submit();
  EXPECT_EQ(DispatchOf(call)->process, old) << "it serves until then";
  const CallId queued = Submit();
  Ready(spawned_[0].process);
  EXPECT_EQ(DispatchOf(queued)->process, spawned_[0].process);
  EXPECT_TRUE(asked_to_end_.empty()) << "it has a call";
  End(call);
  EXPECT_EQ(asked_to_end_.size(), 1u);
  Exit(old, {});
  EXPECT_EQ(Processes(), 1);
  EXPECT_EQ(core_->roster().counts().recycled, 1);
  EXPECT_EQ(core_->roster().counts().crashes, 0);
  EXPECT_EQ(core_->roster().counts().restarts, 0);
}

TEST_F(ReplacementTest, OneIsReplacedAtATimeAndNotAllAtTheSameAge) {
  options_.recycle.max_age = milliseconds(10'000);
  Begin(10);
  Take(&spawned_);
  Pass(milliseconds(8'999));
  EXPECT_TRUE(spawned_.empty());
  Pass(milliseconds(400));
  size_t due_before = 0;
  for (const Core::Seat& seat : core_->seats()) {
    due_before += core_->roster()[seat.worker].recycling.due.has_value();
  }
  EXPECT_GT(due_before, 0u);
  EXPECT_LT(due_before, 10u);
  for (int i = 0; i < 10; ++i) {
    Pass(milliseconds(100));
    EXPECT_EQ(Processes(), 11);
    Finish();
    EXPECT_EQ(spawned_.empty(), i == 9) << i;
  }
  EXPECT_EQ(core_->roster().counts().recycled, 10);
}

TEST_F(ReplacementTest, AWorkerIsReplacedAfterSoManyCalls) {
  options_.recycle.max_calls = 10;
  Begin(1);
  Take(&spawned_);
  int calls = 0;
  while (spawned_.empty()) End(Submit()), ++calls;
  EXPECT_GE(calls, 9);
  EXPECT_LE(calls, 10);
  Finish();
  End(Submit());
  EXPECT_TRUE(spawned_.empty()) << "the successor begins at none";
}

TEST_F(ReplacementTest, AWorkerIsReplacedWhenItsMemoryHasGrown) {
  options_.recycle.max_rss_growth_bytes = 1000;
  options_.recycle.warm_up_calls = 2;
  Begin(1);
  Take(&spawned_);
  const auto measure = [this](int64_t rss_bytes) {
    Round();
    ASSERT_EQ(measured_, std::vector<ProcessNumber>{ProcessOf(0)});
    MemoryMeasured(ProcessOf(0), rss_bytes);
  };
  measure(10'000);
  End(Submit());
  const CallId second = Submit();
  measure(20'000);  // while it is loading the model
  End(second);
  measure(50'000);  // the model is loaded: the baseline
  measure(50'900);
  EXPECT_TRUE(spawned_.empty());
  measure(51'001);
  Finish();
  measure(90'000);
  EXPECT_TRUE(spawned_.empty()) << "it has to warm up first";
}

TEST_F(ReplacementTest, AWorkerIsReplacedWhenItHasBeenIdle) {
  options_.recycle.max_idle = milliseconds(10'000);
  options_.health.interval = milliseconds(0);
  Begin(1);
  Take(&spawned_);
  Pass(milliseconds(60'000));
  EXPECT_TRUE(spawned_.empty()) << "one that never had a call is as good as new";
  for (int i = 0; i < 10; ++i) {
    End(Submit());
    Pass(milliseconds(5'000));
  }
  EXPECT_TRUE(spawned_.empty());
  const CallId call = Submit();
  Pass(milliseconds(60'000));
  EXPECT_TRUE(spawned_.empty()) << "a busy worker is not idle";
  End(call);
  for (int i = 0; i < 20 && spawned_.empty(); ++i) Pass(milliseconds(1'000));
  EXPECT_EQ(spawned_.size(), 1u);
}

TEST_F(ReplacementTest, ASuccessorThatDoesNotStartLeavesTheOldOneServing) {
  options_.recycle.max_age = milliseconds(1'000);
  options_.health.interval = milliseconds(0);
  Begin(1);
  Take(&spawned_);
  const ProcessNumber old = ProcessOf(0);
  Pass(milliseconds(1'000));
  ASSERT_EQ(spawned_.size(), 1u);
  Exit(Take(&spawned_)[0].process);
  EXPECT_EQ(ProcessOf(0), old);
  EXPECT_EQ(StateOf(0), WorkerState::kReady);
  EXPECT_EQ(core_->roster().counts().boot_failures, 1);
  End(Submit());
  PassBackOff();
  EXPECT_EQ(spawned_.size(), 1u) << "it is tried again";
  Finish();
  EXPECT_NE(ProcessOf(0), old);
}

TEST_F(ReplacementTest, AnOldWorkerThatEndsEarlyIsNotStartedAgain) {
  options_.recycle.max_age = milliseconds(1'000);
  Begin(1);
  Take(&spawned_);
  const ProcessNumber old = ProcessOf(0);
  Pass(milliseconds(1'000));
  const ProcessNumber successor = Take(&spawned_)[0].process;
  Exit(old);
  EXPECT_EQ(ProcessOf(0), successor);
  EXPECT_TRUE(spawned_.empty());
  Ready(successor);
  EXPECT_TRUE(core_->roster().AllReady());
  EXPECT_EQ(Processes(), 1);
}

TEST_F(ReplacementTest, ARestartReplacesEveryWorkerOneAfterTheOther) {
  Begin(3);
  Take(&spawned_);
  EXPECT_TRUE(Restart());
  EXPECT_EQ(core_->supervisor().restart_state(), RestartState::kRunning);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Processes(), 4);
    Finish();
  }
  EXPECT_EQ(core_->supervisor().restart_state(), RestartState::kDone);
  for (int id = 0; id < 3; ++id) EXPECT_GT(ProcessOf(id), 3u);
  EXPECT_TRUE(spawned_.empty());
}

TEST_F(ReplacementTest, ARestartWaitsForTheLastCallOfAnOldWorker) {
  Begin(1);
  Take(&spawned_);
  const CallId call = Submit();
  Restart();
  const ProcessNumber old = ProcessOf(0);
  Ready(Take(&spawned_)[0].process);
  Pass(options_.stop_grace * 5);
  EXPECT_TRUE(killed_.empty()) << "only its calls bound the wait";
  End(call);
  EXPECT_EQ(core_->supervisor().restart_state(), RestartState::kRunning);
  Exit(old, {});
  EXPECT_EQ(core_->supervisor().restart_state(), RestartState::kDone);
}

TEST_F(ReplacementTest, ARestartWhoseSuccessorDoesNotStartEndsThere) {
  Begin(3);
  Take(&spawned_);
  Restart();
  Finish();
  Exit(Take(&spawned_)[0].process);
  EXPECT_EQ(core_->supervisor().restart_state(), RestartState::kFailed);
  Pass(options_.restart.max_backoff);
  EXPECT_TRUE(spawned_.empty());
  EXPECT_TRUE(core_->roster().AllReady());
}

TEST_F(ReplacementTest, ARestartFindsWorkersInEveryState) {
  Begin(3);
  Exit(ProcessOf(0));  // backs off
  End(Submit());
  Exit(ProcessOf(1));
  Pass(milliseconds(0));  // may have been started by now
  Take(&spawned_);
  Restart();
  for (int i = 0; i < 20 && core_->supervisor().restart_state() == RestartState::kRunning; ++i) {
    PassBackOff();
    for (const Core::Worker& worker : core_->workers()) {
      if (worker.state == WorkerState::kStarting) Ready(worker.process);
      if (worker.state == WorkerState::kStopping) Exit(worker.process, {});
    }
  }
  EXPECT_EQ(core_->supervisor().restart_state(), RestartState::kDone);
  EXPECT_EQ(Processes(), 3);
}

TEST_F(ReplacementTest, StrictCallsThatWereAcceptedForAWorkerAreServedBeforeItEnds) {
  options_.sessions.affinity = Affinity::kStrictQueue;
  Begin(1);
  Take(&spawned_);
  const CallId a = Submit("s"), b = Submit("s");
  Restart();
  const ProcessNumber old = ProcessOf(0);
  Ready(Take(&spawned_)[0].process);
  EXPECT_EQ(Refused("s"), Refusal::kSessionLost) << "one that comes now";
  End(a);
  ASSERT_NE(DispatchOf(b), nullptr);
  EXPECT_EQ(DispatchOf(b)->process, old);
  EXPECT_TRUE(asked_to_end_.empty());
  End(b);
  EXPECT_EQ(asked_to_end_.size(), 1u);
}

TEST_F(ReplacementTest, AnOldWorkerWhoseLastQueuedCallIsGivenUpEnds) {
  options_.sessions.affinity = Affinity::kStrictQueue;
  Begin(1);
  Take(&spawned_);
  const CallId a = Submit("s"), b = Submit("s");
  Restart();
  Ready(Take(&spawned_)[0].process);
  Cancel(b);
  EXPECT_TRUE(asked_to_end_.empty());
  End(a);
  EXPECT_EQ(asked_to_end_.size(), 1u);
}

TEST_F(ReplacementTest, AWorkerThatOverranACallKeepsItsOtherCalls) {
  BeginOf({3});
  Take(&spawned_);
  const CallId a = Submit(), b = Submit();
  const ProcessNumber old = ProcessOf(0);
  End(a, CallReport::kFailedOverran);
  EXPECT_TRUE(killed_.empty());
  EXPECT_EQ(WorkerOf(Submit()), -1) << "it gets no more";
  PassBackOff();
  ASSERT_EQ(spawned_.size(), 1u);
  Ready(spawned_[0].process, 3);
  End(b);
  EXPECT_EQ(asked_to_end_.size(), 1u);
  Pass(options_.stop_grace);
  EXPECT_EQ(killed_.size(), 1u) << "it still runs the call";
  Exit(old);
  EXPECT_EQ(Processes(), 1);
  EXPECT_EQ(core_->roster().counts().crashes, 1);
}

TEST_F(ReplacementTest, AWorkerThatRefusesACallAsItIsEndingGetsNoMore) {
  Begin(1);
  Take(&spawned_);
  const ProcessNumber old = ProcessOf(0);
  End(Submit(), CallReport::kRefused);
  EXPECT_EQ(WorkerOf(Submit()), -1);
  PassBackOff();
  EXPECT_EQ(spawned_.size(), 1u) << "its successor does not wait for its end";
  EXPECT_EQ(asked_to_end_.size(), 1u);
  Exit(old, {});
  EXPECT_EQ(Processes(), 1);
  EXPECT_EQ(core_->roster().counts().crashes, 1);
}

TEST_F(ReplacementTest, CallsThatWaitForAWorkerThatRefusesLoseTheirSession) {
  options_.sessions.affinity = Affinity::kStrictQueue;
  Begin(1);
  const CallId a = Submit("s"), b = Submit("s"), c = Submit("s");
  End(a);
  End(b, CallReport::kRefused);
  ASSERT_NE(Ended(c), nullptr);
  EXPECT_EQ(Ended(c)->why, EndCall::Why::kSessionLost);
  EXPECT_EQ(asked_to_end_.size(), 1u);
}

TEST_F(ReplacementTest, WithoutOtherCallsItIsKilledAtOnce) {
  BeginOf({3});
  const CallId a = Submit();
  End(a, CallReport::kFailedOverran);
  EXPECT_EQ(killed_, std::vector<int>{0});
}

// --- Resizing ----------------------------------------------------------------------------------

TEST_F(CoreTest, MoreWorkersStartAtOnce) {
  Begin(1);
  Take(&spawned_);
  Submit();
  const CallId queued = Submit();
  Resize(3);
  ASSERT_EQ(spawned_.size(), 2u);
  Ready(spawned_[0].process);
  EXPECT_EQ(WorkerOf(queued), 1);
  Ready(spawned_[1].process);
  EXPECT_TRUE(core_->roster().AllReady());
}

TEST_F(CoreTest, SurplusWorkersFinishTheirCallsAndEnd) {
  Begin(3);
  const CallId a = Submit(), b = Submit(), c = Submit();
  Resize(1);
  EXPECT_EQ(core_->seats().size(), 1u);
  EXPECT_TRUE(asked_to_end_.empty());
  const CallId queued = Submit();
  End(c);
  End(b);
  EXPECT_EQ(WorkerOf(queued), -1) << "they get no more";
  End(a);
  EXPECT_EQ(WorkerOf(queued), 0);
  EXPECT_EQ(asked_to_end_.size(), 2u);
  for (const Core::Worker& worker : core_->workers()) {
    if (worker.state == WorkerState::kStopping) Exit(worker.process, {});
  }
  Pass(options_.restart.max_backoff);
  EXPECT_EQ(Processes(), 1);
}

TEST_F(CoreTest, WorkersOfAnIdThatStillEndsCanBeStartedAnew) {
  Begin(2);
  Submit(), Submit();
  const ProcessNumber old = ProcessOf(1);
  Resize(1);
  Take(&spawned_);
  Resize(2);
  ASSERT_EQ(spawned_.size(), 1u);
  EXPECT_EQ(spawned_[0].worker_id, 1);
  EXPECT_EQ(Processes(), 3);
  Exit(old, {});
  Ready(spawned_[0].process);
  EXPECT_TRUE(core_->roster().AllReady());
  EXPECT_EQ(Processes(), 2);
}

TEST_F(CoreTest, ResizingWhileAWorkerIsReplacedLeavesNone) {
  Begin(2);
  Take(&spawned_);
  Restart();
  Resize(1);
  for (int i = 0; i < 10; ++i) {
    Pass(milliseconds(1));
    for (const Core::Worker& worker : core_->workers()) {
      if (worker.state == WorkerState::kStarting) Ready(worker.process);
      if (worker.state == WorkerState::kStopping) Exit(worker.process, {});
    }
  }
  EXPECT_EQ(Processes(), 1);
  EXPECT_TRUE(core_->roster().AllReady());
  EXPECT_EQ(core_->supervisor().restart_state(), RestartState::kDone);
}

}  // namespace
}  // namespace snakepit
