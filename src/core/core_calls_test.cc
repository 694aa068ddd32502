// Calls, sessions and routing.
#include <gtest/gtest.h>

#include "src/core/core.h"
#include "src/core/testing/fixture.h"

namespace snakepit {
namespace {

// --- Queue -------------------------------------------------------------------------------------

TEST_F(CoreTest, SequentialCallsTakeTurnsOnAllWorkers) {
  Begin(3);
  std::vector<int> calls_of_worker(3);
  for (int i = 0; i < 21; ++i) {
    const CallId call = Submit();
    ++calls_of_worker[WorkerOf(call)];
    End(call);
  }
  EXPECT_EQ(calls_of_worker, (std::vector<int>{7, 7, 7}));
}

TEST_F(CoreTest, CallsWaitForAWorkerFirstInFirstOut) {
  Begin(1);
  const CallId first = Submit(), second = Submit(), third = Submit();
  EXPECT_EQ(WorkerOf(second), -1);
  EXPECT_EQ(core_->scheduler().queued(), 2u);
  End(first);
  EXPECT_EQ(WorkerOf(second), 0);
  EXPECT_EQ(WorkerOf(third), -1);
  End(second);
  EXPECT_EQ(WorkerOf(third), 0);
}

TEST_F(CoreTest, AWorkerOfCapacityOneNeverHasTwoCalls) {
  Begin(2);
  for (int i = 0; i < 5; ++i) Submit();
  EXPECT_EQ(dispatched_.size(), 2u);
  EXPECT_EQ(InFlight(), (std::vector<int>{1, 1}));
}

TEST_F(CoreTest, AWorkerHasAsManyCallsAsItsCapacity) {
  BeginOf({3, 1});
  std::vector<CallId> calls;
  for (int i = 0; i < 6; ++i) calls.push_back(Submit());
  EXPECT_EQ(InFlight(), (std::vector<int>{3, 1}));
  EXPECT_EQ(core_->scheduler().queued(), 2u);
  for (CallId call : calls) End(call);
  EXPECT_EQ(InFlight(), (std::vector<int>{0, 0}));
}

TEST_F(CoreTest, CallsGoWhereTheSmallestShareOfTheCapacityIsInUse) {
  BeginOf({2, 6});
  for (int i = 0; i < 4; ++i) Submit();
  EXPECT_EQ(InFlight(), (std::vector<int>{1, 3}));
  Submit();
  Submit();
  EXPECT_EQ(InFlight(), (std::vector<int>{2, 4}))
      << "both had used half: the one that waited first";
}

TEST_F(CoreTest, TheCapacityIsThatOfThePresentProcess) {
  BeginOf({4});
  Exit(ProcessOf(0));
  Pass(options_.restart.initial_backoff);
  Ready(ProcessOf(0), 2);
  for (int i = 0; i < 4; ++i) Submit();
  EXPECT_EQ(InFlight(), std::vector<int>{2});
}

TEST_F(CoreTest, AWorkerThatIsGivenUpTakesAllItsCallsWithIt) {
  BeginOf({3});
  const CallId a = Submit(), b = Submit(), c = Submit(), queued = Submit();
  End(a, CallReport::kFailedUnusable);
  EXPECT_EQ(killed_, std::vector<int>{0});
  End(b, CallReport::kLost);
  Exit(ProcessOf(0));
  End(c, CallReport::kLost);
  EXPECT_NE(Ended(b), nullptr);
  EXPECT_NE(Ended(c), nullptr);
  EXPECT_EQ(Ended(queued), nullptr);
  Pass(options_.restart.initial_backoff);
  Ready(ProcessOf(0), 3);
  EXPECT_EQ(WorkerOf(queued), 0);
  EXPECT_EQ(InFlight(), std::vector<int>{1});
}

TEST_F(CoreTest, ADrainingWorkerIsAskedToEndWhenTheLastOfItsCallsHasEnded) {
  BeginOf({2});
  const CallId a = Submit(), b = Submit();
  core_->Stop(now_);
  End(a);
  EXPECT_TRUE(asked_to_end_.empty());
  End(b);
  EXPECT_EQ(asked_to_end_, std::vector<int>{0});
}

// --- Cancellation ------------------------------------------------------------------------------

TEST_F(CoreTest, AQueuedCallThatIsCancelledEndsAtOnceAndIsNeverExecuted) {
  Begin(1);
  const CallId running = Submit(), queued = Submit(), next = Submit();
  Cancel(queued);
  ASSERT_NE(Ended(queued), nullptr);
  EXPECT_EQ(Ended(queued)->why, EndCall::Why::kCancelled);
  EXPECT_EQ(core_->scheduler().queued(), 1u);
  End(running);
  EXPECT_EQ(WorkerOf(queued), -1);
  EXPECT_EQ(WorkerOf(next), 0);
  Pass(options_.call_timeout);
  EXPECT_EQ(ended_.size(), 1u) << "its timer is gone, too";
  EXPECT_EQ(core_->NextWake(), std::nullopt);
}

TEST_F(CoreTest, CancellingMakesRoomInTheQueue) {
  options_.queue.max_calls = 1;
  Begin(1);
  Submit();
  Cancel(Submit());
  EXPECT_NE(Submit(), 0u);
}

TEST_F(CoreTest, ACancelledCallInFlightGoesOnUntilItsTransportReports) {
  Begin(1);
  const CallId call = Submit();
  Cancel(call);
  EXPECT_EQ(Ended(call), nullptr);
  EXPECT_TRUE(core_->scheduler().IsInFlight(call));
  End(call, CallReport::kFailed);
  EXPECT_FALSE(core_->scheduler().IsInFlight(call));
  Cancel(call);
  EXPECT_TRUE(ended_.empty());
  EXPECT_EQ(core_->scheduler().calls(), 0u);
}

TEST_F(CoreTest, AFullQueueRefuses) {
  options_.queue.max_calls = 2;
  Begin(1);
  Submit(), Submit(), Submit();
  auto refused = core_->Submit({.session_id = "", .queue_deadline = now_, .deadline = now_}, now_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Refusal::kQueueFull);
  EXPECT_EQ(core_->scheduler().calls(), 3u);
}

TEST_F(CoreTest, AQueuedCallIsRemovedAtItsQueueTimeoutAndNeverExecuted) {
  Begin(1);
  const CallId running = Submit(), queued = Submit();
  Pass(options_.queue.timeout);
  ASSERT_NE(Ended(queued), nullptr);
  EXPECT_EQ(Ended(queued)->why, EndCall::Why::kQueueTimeout);
  End(running);
  EXPECT_EQ(WorkerOf(queued), -1);
  EXPECT_EQ(core_->scheduler().calls(), 0u);
}

TEST_F(CoreTest, ACallWhoseDeadlinePassesInTheQueueEndsWithThat) {
  options_.call_timeout = milliseconds(100);
  Begin(1);
  Submit();
  const CallId queued = Submit();
  Pass(milliseconds(100));
  ASSERT_NE(Ended(queued), nullptr);
  EXPECT_EQ(Ended(queued)->why, EndCall::Why::kDeadlineExceeded);
}

TEST_F(CoreTest, TheQueueTimeEndsAtDispatch) {
  Begin(1);
  const CallId first = Submit(), second = Submit();
  Pass(milliseconds(1));
  End(first);
  ASSERT_EQ(WorkerOf(second), 0);
  EXPECT_EQ(core_->NextWake(), std::nullopt);
  Pass(options_.queue.timeout * 2);
  EXPECT_EQ(Ended(second), nullptr);
}

TEST_F(CoreTest, TheQueueIsBoundedByBytesToo) {
  options_.queue.max_bytes = 100;
  Begin(1);
  Submit();
  auto queue = [this](size_t bytes) {
    return core_->Submit({.session_id = "",
                          .queue_deadline = now_ + options_.queue.timeout,
                          .deadline = now_ + options_.call_timeout,
                          .bytes = bytes},
                         now_);
  };
  auto first = queue(60);
  ASSERT_TRUE(first);
  EXPECT_EQ(queue(41).error(), Refusal::kQueueFull);
  EXPECT_TRUE(queue(40));
  EXPECT_EQ(core_->scheduler().queued_bytes(), 100u);
  EXPECT_EQ(queue(1).error(), Refusal::kQueueFull);
  Cancel(*first);
  EXPECT_EQ(core_->scheduler().queued_bytes(), 40u);
  EXPECT_TRUE(queue(60));
}

TEST_F(CoreTest, ACallOfAnySizeGoesToAFreeWorker) {
  options_.queue.max_bytes = 100;
  Begin(1);
  EXPECT_TRUE(core_->Submit(
      {.session_id = "", .queue_deadline = now_, .deadline = now_, .bytes = 1000}, now_));
}

TEST_F(CoreTest, TheOldestQueuedCallIsKnown) {
  Begin(1);
  const CallId running = Submit("s");
  EXPECT_EQ(core_->scheduler().OldestQueued(), std::nullopt);
  const Core::Time start = now_;
  Submit("s");  // waits for its worker
  Pass(milliseconds(10));
  Submit();  // waits for any
  EXPECT_EQ(core_->scheduler().OldestQueued(), start);
  End(running);
  EXPECT_EQ(core_->scheduler().OldestQueued(), start + milliseconds(10));
}

TEST_F(CoreTest, AnIdlePoolNeedsNoWakeUp) {
  Begin(4);
  EXPECT_EQ(core_->NextWake(), std::nullopt);
  End(Submit());
  EXPECT_EQ(core_->NextWake(), std::nullopt);
}

// --- Sessions ----------------------------------------------------------------------------------

TEST_F(CoreTest, ASessionStaysOnItsWorker) {
  Begin(3);
  const CallId first = Submit("s");
  End(first);
  for (int i = 0; i < 10; ++i) {
    End(Submit());  // others come and go between
    const CallId call = Submit("s");
    EXPECT_EQ(WorkerOf(call), WorkerOf(first));
    End(call);
  }
}

TEST_F(CoreTest, ConcurrentFirstCallsOfASessionAgreeOnOneWorker) {
  Begin(3);
  const CallId a = Submit("s"), b = Submit("s"), c = Submit("s");
  EXPECT_EQ(WorkerOf(b), -1) << "waits, though two workers are free";
  End(a);
  End(b);
  End(c);
  EXPECT_EQ(WorkerOf(b), WorkerOf(a));
  EXPECT_EQ(WorkerOf(c), WorkerOf(a));
}

TEST_F(CoreTest, FirstCallsOfASessionThatWereAllQueuedAgreeToo) {
  Begin(2);
  const CallId x = Submit(), y = Submit();
  const CallId a = Submit("s"), b = Submit("s"), other = Submit();
  End(x);
  EXPECT_EQ(WorkerOf(a), WorkerOf(x));
  End(y);
  EXPECT_EQ(WorkerOf(b), -1);
  EXPECT_EQ(WorkerOf(other), WorkerOf(y)) << "a call that waits for its session holds up no other";
  End(a);
  EXPECT_EQ(WorkerOf(b), WorkerOf(a));
}

TEST_F(CoreTest, ASessionFallsBackToAnotherWorkerWhileItsOwnIsBusy) {
  Begin(2);
  const CallId first = Submit("s");
  End(first);
  const CallId second = Submit("s"), third = Submit("s");
  EXPECT_EQ(WorkerOf(second), WorkerOf(first));
  EXPECT_EQ(WorkerOf(third), 1 - WorkerOf(first));
  End(second);
  End(third);
  const CallId fourth = Submit("s");
  EXPECT_EQ(WorkerOf(fourth), WorkerOf(first)) << "a fall-back does not move the session";
}

TEST_F(CoreTest, ASessionWhoseWorkerIsLostMovesToOneOther) {
  Begin(3);
  const CallId first = Submit("s");
  End(first);
  Exit(ProcessOf(WorkerOf(first)));
  const CallId second = Submit("s"), third = Submit("s");
  EXPECT_NE(WorkerOf(second), WorkerOf(first));
  EXPECT_EQ(WorkerOf(third), -1) << "the state is made anew: later calls wait for it";
  End(second);
  EXPECT_EQ(WorkerOf(third), WorkerOf(second));
}

TEST_F(CoreTest, FirstCallsOfASessionShareAWorkerThatHasRoomForThem) {
  BeginOf({2, 2});
  const CallId a = Submit("s"), b = Submit("s"), c = Submit("s");
  EXPECT_EQ(WorkerOf(b), WorkerOf(a));
  EXPECT_EQ(WorkerOf(c), -1);
}

TEST_F(CoreTest, TheWorkerThatHoldsASessionIsToldThatItsUserEndedIt) {
  Begin(2);
  const CallId first = Submit("s");
  End(first);
  EndSession("s");
  ASSERT_EQ(ended_sessions_.size(), 1u);
  EXPECT_EQ(ended_sessions_[0].process, ProcessOf(WorkerOf(first)));
  EXPECT_EQ(ended_sessions_[0].session_id, "s");
  EXPECT_EQ(core_->scheduler().sessions(), 0u);
  EndSession("s");
  EndSession("never used");
  EXPECT_EQ(ended_sessions_.size(), 1u);
}

TEST_F(CoreTest, AQueuedCallOfASessionThatWasEndedBeginsItAnew) {
  Begin(2);
  const CallId first = Submit("s"), second = Submit("s");
  ASSERT_EQ(WorkerOf(second), -1);
  EndSession("s");
  EXPECT_EQ(WorkerOf(second), 1 - WorkerOf(first)) << "it is not bound to a worker any more";
  EXPECT_EQ(core_->scheduler().sessions(), 1u);
  End(first);
  EXPECT_EQ(core_->scheduler().sessions(), 1u);
  EndSession("s");
  ASSERT_EQ(ended_sessions_.size(), 2u);
  EXPECT_EQ(ended_sessions_[1].process, ProcessOf(WorkerOf(second)));
}

TEST_F(CoreTest, TheWorkerIsToldOfASessionThatIsTooOldOrOneTooMany) {
  options_.sessions.max_count = 2;
  Begin(1);
  End(Submit("a"));
  End(Submit("b"));
  End(Submit("c"));
  ASSERT_EQ(ended_sessions_.size(), 1u);
  EXPECT_EQ(ended_sessions_[0].session_id, "a");
  Pass(options_.sessions.idle_timeout + milliseconds(1));
  ASSERT_EQ(ended_sessions_.size(), 3u);
  EXPECT_EQ(ended_sessions_[1].session_id, "b");
  EXPECT_EQ(ended_sessions_[2].session_id, "c");
  EXPECT_EQ(core_->NextWake(), std::nullopt);
}

TEST_F(CoreTest, NoWorkerIsToldOfASessionThatItDoesNotHold) {
  Begin(1);
  End(Submit("lost"));
  Exit(ProcessOf(0));
  Submit("waits");
  EndSession("lost");
  EndSession("waits");
  EXPECT_TRUE(ended_sessions_.empty());
  Pass(milliseconds(0));
  Ready(ProcessOf(0));
  EndSession("lost");
  EXPECT_TRUE(ended_sessions_.empty());
}

// --- Sessions in the strict modes --------------------------------------------------------------

TEST_F(CoreTest, StrictQueueWaitsForItsWorkerThoughOthersAreFree) {
  options_.sessions.affinity = Affinity::kStrictQueue;
  Begin(3);
  End(Submit("s"));
  const CallId a = Submit("s"), b = Submit("s"), c = Submit("s");
  EXPECT_EQ(WorkerOf(b), -1);
  EXPECT_EQ(core_->scheduler().queued(), 2u);
  End(a);
  EXPECT_EQ(WorkerOf(b), WorkerOf(a));
  EXPECT_EQ(WorkerOf(c), -1);
  Pass(options_.queue.timeout);
  ASSERT_NE(Ended(c), nullptr);
  EXPECT_EQ(Ended(c)->why, EndCall::Why::kQueueTimeout);
}

TEST_F(CoreTest, ACallThatWaitsForItsWorkerHoldsUpNoOther) {
  options_.sessions.affinity = Affinity::kStrictQueue;
  Begin(2);
  const CallId a = Submit("s"), b = Submit("s");
  const CallId other = Submit();
  EXPECT_EQ(WorkerOf(other), 1 - WorkerOf(a));
  const CallId later = Submit();
  End(a);
  EXPECT_EQ(WorkerOf(b), WorkerOf(a)) << "it was submitted before the other";
  End(b);
  EXPECT_EQ(WorkerOf(later), WorkerOf(a));
}

TEST_F(CoreTest, StrictFailFastRefusesWhileItsWorkerIsBusy) {
  options_.sessions.affinity = Affinity::kStrictFailFast;
  Begin(2);
  const CallId first = Submit("s");
  EXPECT_EQ(Refused("s"), Refusal::kSessionBusy);
  End(first);
  EXPECT_EQ(WorkerOf(Submit("s")), WorkerOf(first));
}

TEST_F(CoreTest, FirstCallsThatAllWereQueuedAgreeInEveryMode) {
  for (Affinity affinity : {Affinity::kHint, Affinity::kStrictQueue, Affinity::kStrictFailFast}) {
    SCOPED_TRACE(AffinityName(affinity));
    options_.sessions.affinity = affinity;
    dispatched_.clear(), ended_.clear();
    Begin(2);
    const CallId x = Submit(), y = Submit();
    const CallId a = Submit("s"), b = Submit("s");
    End(x);
    EXPECT_EQ(WorkerOf(a), WorkerOf(x));
    End(y);
    EXPECT_EQ(WorkerOf(b), -1);
    End(a);
    EXPECT_EQ(WorkerOf(b), WorkerOf(a));
  }
}

TEST_F(CoreTest, ALostSessionFailsByNameUntilItIsEndedInTheStrictModes) {
  for (Affinity affinity : {Affinity::kStrictQueue, Affinity::kStrictFailFast}) {
    SCOPED_TRACE(AffinityName(affinity));
    options_.sessions.affinity = affinity;
    dispatched_.clear();
    Begin(2);
    const CallId first = Submit("s");
    End(first);
    Exit(ProcessOf(WorkerOf(first)));
    EXPECT_EQ(Refused("s"), Refusal::kSessionLost);
    Pass(milliseconds(0));
    Ready(ProcessOf(WorkerOf(first)));
    EXPECT_EQ(Refused("s"), Refusal::kSessionLost) << "the replacement does not have its state";
    EndSession("s");
    EXPECT_NE(WorkerOf(Submit("s")), -1);
  }
}

TEST_F(CoreTest, ALostSessionIsForgottenInTheEndThoughItIsTried) {
  options_.sessions.affinity = Affinity::kStrictQueue;
  Begin(2);
  const CallId first = Submit("s");
  End(first);
  Exit(ProcessOf(WorkerOf(first)));
  Pass(options_.sessions.idle_timeout);
  EXPECT_EQ(Refused("s"), Refusal::kSessionLost);
  Pass(milliseconds(1));
  EXPECT_NE(WorkerOf(Submit("s")), -1);
}

TEST_F(CoreTest, CallsThatWaitForALostWorkerFailAtOnceInStrictQueue) {
  options_.sessions.affinity = Affinity::kStrictQueue;
  Begin(2);
  const CallId a = Submit("s"), b = Submit("s");
  End(a, CallReport::kLost);
  ASSERT_NE(Ended(b), nullptr) << "before it is known how the worker ended";
  EXPECT_EQ(Ended(b)->why, EndCall::Why::kSessionLost);
  EXPECT_EQ(core_->scheduler().queued(), 0u);
}

TEST_F(CoreTest, AMovedSessionIsMarkedInHint) {
  Begin(2);
  const CallId first = Submit("s");
  EXPECT_FALSE(DispatchOf(first)->session_moved);
  End(first);
  Exit(ProcessOf(WorkerOf(first)));
  const CallId second = Submit("s");
  EXPECT_TRUE(DispatchOf(second)->session_moved);
  End(second);
  EXPECT_FALSE(DispatchOf(Submit("s"))->session_moved);
}

TEST_F(CoreTest, SessionsThatCameAndWentLeaveNothing) {
  options_.sessions.idle_timeout = milliseconds(1000);
  Begin(2);
  for (int i = 0; i < 100'000; ++i) {
    End(Submit("session " + std::to_string(i)));
    dispatched_.clear(), ended_sessions_.clear();
    if (i % 100 == 0) Pass(milliseconds(10));
  }
  EXPECT_LE(core_->scheduler().sessions(), 11'000u)
      << "those of the last second, and those yet to be looked at";
  Pass(milliseconds(1001));
  while (core_->NextWake()) Pass(milliseconds(1));
  EXPECT_EQ(core_->scheduler().sessions(), 0u);
}

}  // namespace
}  // namespace snakepit
