#include "src/core/core.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

using std::chrono::milliseconds;

// Runs a core on a virtual clock and keeps its effects apart by kind.
class CoreTest : public testing::Test {
 protected:
  void Begin(int workers) { BeginOf(std::vector<int>(workers, 1)); }

  // A worker for each capacity.
  void BeginOf(const std::vector<int>& capacities) {
    options_.workers = static_cast<int>(capacities.size());
    core_.emplace(options_);
    core_->Start(now_);
    Collect();
    for (const SpawnWorker& spawn : Take(&spawned_)) Ready(spawn.process, capacities[spawn.worker]);
    EXPECT_TRUE(core_->AllReady());
  }

  void Ready(ProcessNumber process, int capacity = 1) {
    core_->Ready(process, capacity, now_);
    Collect();
  }

  CallId Submit(std::string_view session = "") {
    auto id = core_->Submit({.session_id = session,
                             .queue_deadline = now_ + options_.queue_timeout,
                             .deadline = now_ + options_.call_timeout},
                            now_);
    Collect();
    EXPECT_TRUE(id) << ErrorCodeName(id.error());
    return id.value_or(0);
  }

  void End(CallId call, CallReport report = CallReport::kSucceeded) {
    core_->CallEnded(call, report, now_);
    Collect();
  }

  void Exit(ProcessNumber process, ExitStatus status = {.code = 0, .signal = 9}) {
    core_->Exited(process, status, now_);
    Collect();
  }

  void Cancel(CallId call) {
    core_->Cancel(call);
    Collect();
  }

  void EndSession(std::string_view session) {
    core_->EndSession(session);
    Collect();
  }

  void Pass(milliseconds time) {
    now_ += time;
    core_->Tick(now_);
    Collect();
  }

  // The worker that the call was dispatched to; -1 when it was not.
  int WorkerOf(CallId call) const {
    for (const DispatchCall& dispatch : dispatched_) {
      if (dispatch.call == call) return dispatch.worker;
    }
    return -1;
  }

  const EndCall* Ended(CallId call) const {
    for (const EndCall& end : ended_) {
      if (end.call == call) return &end;
    }
    return nullptr;
  }

  std::vector<int> InFlight() const {
    std::vector<int> in_flight;
    for (const Core::Worker& worker : core_->workers()) in_flight.push_back(worker.in_flight);
    return in_flight;
  }

  ProcessNumber ProcessOf(int worker) const { return core_->workers()[worker].process; }
  WorkerState StateOf(int worker) const { return core_->workers()[worker].state; }

  template <typename T>
  static std::vector<T> Take(std::vector<T>* effects) {
    return std::exchange(*effects, {});
  }

  PoolOptions options_;
  std::optional<Core> core_;
  Core::Time now_{};
  std::vector<SpawnWorker> spawned_;
  std::vector<DispatchCall> dispatched_;
  std::vector<EndCall> ended_;
  std::vector<int> asked_to_end_;
  std::vector<int> killed_;
  std::vector<int> start_timeouts_;
  std::vector<EndWorkerSession> ended_sessions_;

 private:
  void Collect() {
    std::vector<Effect> effects;
    core_->TakeEffects(&effects);
    for (const Effect& effect : effects) {
      if (auto* e = std::get_if<SpawnWorker>(&effect)) spawned_.push_back(*e);
      if (auto* e = std::get_if<DispatchCall>(&effect)) dispatched_.push_back(*e);
      if (auto* e = std::get_if<EndCall>(&effect)) ended_.push_back(*e);
      if (auto* e = std::get_if<AskWorkerToEnd>(&effect)) asked_to_end_.push_back(e->worker);
      if (auto* e = std::get_if<KillWorker>(&effect)) killed_.push_back(e->worker);
      if (auto* e = std::get_if<ReportStartTimeout>(&effect)) start_timeouts_.push_back(e->worker);
      if (auto* e = std::get_if<EndWorkerSession>(&effect)) ended_sessions_.push_back(*e);
    }
  }
};

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
  EXPECT_EQ(core_->queued(), 2u);
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
  EXPECT_EQ(core_->queued(), 2u);
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
  Pass(options_.restart_backoff);
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
  Pass(options_.restart_backoff);
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
  EXPECT_EQ(core_->queued(), 1u);
  End(running);
  EXPECT_EQ(WorkerOf(queued), -1);
  EXPECT_EQ(WorkerOf(next), 0);
  Pass(options_.call_timeout);
  EXPECT_EQ(ended_.size(), 1u) << "its timer has gone with it";
  EXPECT_EQ(core_->NextWake(), std::nullopt);
}

TEST_F(CoreTest, CancellingMakesRoomInTheQueue) {
  options_.max_queued_calls = 1;
  Begin(1);
  Submit();
  Cancel(Submit());
  EXPECT_NE(Submit(), 0u);
}

TEST_F(CoreTest, ADispatchedCallThatIsCancelledGoesOnUntilItsTransportReports) {
  Begin(1);
  const CallId call = Submit();
  Cancel(call);
  EXPECT_EQ(Ended(call), nullptr);
  EXPECT_TRUE(core_->IsInFlight(call));
  End(call, CallReport::kFailed);
  EXPECT_FALSE(core_->IsInFlight(call));
  Cancel(call);
  EXPECT_TRUE(ended_.empty());
  EXPECT_EQ(core_->calls(), 0u);
}

TEST_F(CoreTest, AFullQueueRefuses) {
  options_.max_queued_calls = 2;
  Begin(1);
  Submit(), Submit(), Submit();
  auto refused = core_->Submit({.session_id = "", .queue_deadline = now_, .deadline = now_}, now_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), ErrorCode::kQueueFull);
  EXPECT_EQ(core_->calls(), 3u);
}

TEST_F(CoreTest, AQueuedCallIsRemovedWhenItsQueueTimeIsOverAndNeverExecuted) {
  Begin(1);
  const CallId running = Submit(), queued = Submit();
  Pass(options_.queue_timeout);
  ASSERT_NE(Ended(queued), nullptr);
  EXPECT_EQ(Ended(queued)->why, EndCall::Why::kQueueTimeout);
  End(running);
  EXPECT_EQ(WorkerOf(queued), -1);
  EXPECT_EQ(core_->calls(), 0u);
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
  Pass(options_.queue_timeout * 2);
  EXPECT_EQ(Ended(second), nullptr);
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
  EXPECT_EQ(WorkerOf(other), WorkerOf(y)) << "who waits for a session holds up nobody else";
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
  EXPECT_EQ(WorkerOf(third), -1) << "the state is made anew: who comes meanwhile waits";
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
  EXPECT_EQ(ended_sessions_[0].worker, WorkerOf(first));
  EXPECT_EQ(ended_sessions_[0].process, ProcessOf(WorkerOf(first)));
  EXPECT_EQ(ended_sessions_[0].session_id, "s");
  EXPECT_EQ(core_->sessions(), 0u);
  EndSession("s");
  EndSession("never used");
  EXPECT_EQ(ended_sessions_.size(), 1u);
}

TEST_F(CoreTest, AQueuedCallOfASessionThatWasEndedBeginsItAnew) {
  Begin(2);
  const CallId first = Submit("s"), second = Submit("s");
  ASSERT_EQ(WorkerOf(second), -1);
  EndSession("s");
  EXPECT_EQ(core_->sessions(), 0u);
  End(first);
  ASSERT_NE(WorkerOf(second), -1);
  EXPECT_EQ(core_->sessions(), 1u);
  EndSession("s");
  ASSERT_EQ(ended_sessions_.size(), 2u);
  EXPECT_EQ(ended_sessions_[1].worker, WorkerOf(second));
}

TEST_F(CoreTest, TheWorkerIsToldOfASessionThatIsTooOldOrOneTooMany) {
  options_.max_sessions = 2;
  Begin(1);
  End(Submit("a"));
  End(Submit("b"));
  End(Submit("c"));
  ASSERT_EQ(ended_sessions_.size(), 1u);
  EXPECT_EQ(ended_sessions_[0].session_id, "a");
  Pass(options_.session_ttl + milliseconds(1));
  EXPECT_EQ(ended_sessions_.size(), 1u) << "only a call of a session looks for them";
  End(Submit("c"));
  ASSERT_EQ(ended_sessions_.size(), 3u);
  EXPECT_EQ(ended_sessions_[1].session_id, "b");
  EXPECT_EQ(ended_sessions_[2].session_id, "c") << "it is begun anew";
}

TEST_F(CoreTest, NobodyIsToldOfASessionWhoseProcessIsNotThereOrNeverHadIt) {
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

// --- Workers -----------------------------------------------------------------------------------

TEST_F(CoreTest, ACallThatWaitsForItsSessionsWorkerGoesToAnotherAsSoonAsThatOneIsLost) {
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
  Pass(options_.restart_backoff);
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
  EXPECT_EQ(core_->calls(), 0u);
}

TEST_F(CoreTest, ACallWhoseLossIsNoticedAfterTheExitStillLearnsTheStatus) {
  Begin(1);
  const CallId call = Submit();
  Exit(ProcessOf(0), {.code = 0, .signal = 11});
  EXPECT_EQ(Ended(call), nullptr) << "its transport may still have the reply";
  Pass(options_.restart_backoff);
  EXPECT_EQ(StateOf(0), WorkerState::kStarting) << "the replacement does not wait for it";
  End(call, CallReport::kLost);
  ASSERT_NE(Ended(call), nullptr);
  EXPECT_EQ(Ended(call)->exit->signal, 11);
}

TEST_F(CoreTest, AReplyThatWasReadAfterTheExitCounts) {
  Begin(1);
  const CallId call = Submit();
  Exit(ProcessOf(0));
  Pass(options_.restart_backoff);
  Ready(ProcessOf(0));
  const CallId next = Submit();
  End(call, CallReport::kSucceeded);
  EXPECT_EQ(core_->workers()[0].in_flight, 1) << "the new process keeps its own call";
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
  Pass(options_.restart_backoff);
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

TEST_F(CoreTest, TheWaitBeforeAStartDoublesUpToItsMaximumAndEndsWithUsefulWork) {
  options_.restart_backoff = milliseconds(100);
  options_.max_restart_backoff = milliseconds(350);
  Begin(1);
  for (int wait : {100, 200, 350, 350}) {
    Take(&spawned_);
    Exit(ProcessOf(0));
    Pass(milliseconds(wait - 1));
    EXPECT_TRUE(spawned_.empty()) << wait;
    Pass(milliseconds(1));
    EXPECT_EQ(spawned_.size(), 1u) << wait;
  }
  Ready(ProcessOf(0));
  End(Submit());
  Take(&spawned_);
  Exit(ProcessOf(0));
  Pass(milliseconds(0));
  EXPECT_EQ(spawned_.size(), 1u);
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

TEST_F(CoreTest, WhatConcernsAnEarlierProcessIsDropped) {
  Begin(1);
  const ProcessNumber old = ProcessOf(0);
  Exit(old);
  Pass(options_.restart_backoff);
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
    Pass(options_.max_restart_backoff);
    Ready(ProcessOf(worker));
    ASSERT_TRUE(core_->AllReady()) << round;
  }
  EXPECT_EQ(core_->workers()[0].restarts, 50);
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
  EXPECT_EQ(refused.error(), ErrorCode::kUnavailable);
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
  EXPECT_TRUE(core_->AllGone());
  EXPECT_EQ(core_->NextWake(), std::nullopt);
}

TEST_F(CoreTest, WhoDoesNotEndWithinTheGraceIsKilled) {
  Begin(2);
  const CallId running = Submit();
  core_->Stop(now_);
  Pass(options_.stop_grace);
  EXPECT_EQ(killed_.size(), 2u) << "the busy one, and the one that was asked";
  Exit(ProcessOf(0));
  Exit(ProcessOf(1));
  EXPECT_TRUE(core_->AllGone());
  End(running, CallReport::kLost);
  EXPECT_NE(Ended(running), nullptr);
}

TEST_F(CoreTest, AStoppedPoolStartsNoProcess) {
  Begin(1);
  Exit(ProcessOf(0));
  core_->Stop(now_);
  EXPECT_TRUE(core_->AllGone());
  Take(&spawned_);
  Pass(options_.max_restart_backoff);
  EXPECT_TRUE(spawned_.empty());
}

TEST_F(CoreTest, AWorkerInItsStartIsEndedToo) {
  Begin(1);
  Exit(ProcessOf(0));
  Pass(options_.restart_backoff);
  core_->Stop(now_);
  Pass(milliseconds(0));
  EXPECT_EQ(asked_to_end_, std::vector<int>{0});
  Ready(ProcessOf(0));
  EXPECT_EQ(StateOf(0), WorkerState::kStopping);
}

}  // namespace
}  // namespace snakepit
