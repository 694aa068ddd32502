#include "src/core/lifecycle_driver.h"

#include <limits>

#include "src/core/testing/parts.h"

namespace snakepit {
namespace {

using E = WorkerEvent;
using S = WorkerState;

class LifecycleDriverTest : public PartsTest {
 protected:
  LifecycleDriverTest() {
    options_.adapter.start_timeout = milliseconds(7'000);
    options_.stop_grace = milliseconds(3'000);
    options_.restart.initial_backoff = milliseconds(100);
    options_.restart.max_backoff = milliseconds(1'000);
  }

  void Handle(WorkerIndex index, WorkerEvent event) { driver_.Handle(index, event, now_); }
  // The time that the worker's state has left; nothing: it has no timer.
  std::optional<milliseconds> TimeLeft(WorkerIndex index) const {
    EXPECT_EQ(timers_.Next(), roster_[index].timer);
    if (!roster_[index].timer) return std::nullopt;
    return std::chrono::duration_cast<milliseconds>(*roster_[index].timer - now_);
  }
  // The reason of the one kill since the last look at the effects.
  KillReason TakeKillReason() {
    EXPECT_EQ(effects_.size(), 1u);
    const auto kill = std::get<KillWorker>(effects_.at(0));
    effects_.clear();
    return kill.why;
  }
};

TEST_F(LifecycleDriverTest, EachStateThatHasToEndHasATimer) {
  const WorkerIndex index = AddSeat();
  EXPECT_EQ(TimeLeft(index), std::nullopt) << "held until somebody starts it";
  Handle(index, E::kStart);
  EXPECT_EQ(TimeLeft(index), options_.adapter.start_timeout);
  Handle(index, E::kReady);
  EXPECT_EQ(TimeLeft(index), std::nullopt);
  board_[index].in_flight = 1;
  Handle(index, E::kRetire);
  EXPECT_EQ(TimeLeft(index), std::nullopt) << "the deadlines of its calls end it";
  Handle(index, E::kStop);
  EXPECT_EQ(StateOf(index), S::kDraining);
  EXPECT_EQ(TimeLeft(index), options_.stop_grace);
  Handle(index, E::kIdle);
  EXPECT_EQ(StateOf(index), S::kStopping);
  EXPECT_EQ(TimeLeft(index), options_.stop_grace);
  Handle(index, E::kGraceOver);
  EXPECT_EQ(StateOf(index), S::kKilled);
  EXPECT_EQ(TimeLeft(index), LifecycleDriver::kKillLimit);
  Handle(index, E::kExited);
  EXPECT_EQ(TimeLeft(index), milliseconds(0)) << "no failure was counted";
}

TEST_F(LifecycleDriverTest, AClosedConnectionHasTheShorterOfTwoGraces) {
  const WorkerIndex first = AddReady();
  Handle(first, E::kConnectionLost);
  EXPECT_EQ(TimeLeft(first), LifecycleDriver::kExitGrace);
  Handle(first, E::kExited);
  Handle(first, E::kStart);
  options_.stop_grace = LifecycleDriver::kExitGrace - milliseconds(1);
  Handle(first, E::kConnectionLost);
  EXPECT_EQ(TimeLeft(first), options_.stop_grace);
}

TEST_F(LifecycleDriverTest, AProcessBeginsAnewWithANumberOfItsOwn) {
  const WorkerIndex index = AddReady(), other = AddReady();
  EXPECT_EQ(board_[index].process, 1u);
  EXPECT_EQ(board_[other].process, 2u);
  board_[index].capacity = 4;
  board_[index].waiting = 2;
  board_[index].calls_started = board_[index].in_flight = 3;
  roster_[index].process.has_served = true;
  roster_[index].health.unhealthy_in_a_row = 2;
  roster_[index].recycling.due = ReplaceReason::kMaxAge;
  EXPECT_EQ(roster_.counts().restarts, 0) << "first processes are no restarts";
  Handle(index, E::kExited);
  Handle(index, E::kStart);
  EXPECT_EQ(board_[index].process, 3u);
  EXPECT_EQ(driver_.last_process(), 3u);
  EXPECT_EQ(board_[index].capacity, 4) << "until it says otherwise";
  EXPECT_EQ(board_[index].waiting, 2) << "calls wait for the worker, not for the process";
  EXPECT_EQ(board_[index].calls_started, 0);
  EXPECT_EQ(board_[index].in_flight, 0);
  EXPECT_FALSE(roster_[index].process.has_served);
  EXPECT_EQ(roster_[index].health.unhealthy_in_a_row, 0);
  EXPECT_FALSE(roster_[index].recycling.due);
  EXPECT_EQ(roster_.counts().restarts, 1);
  EXPECT_EQ(roster_.seats()[0].restarts, 1);
  EXPECT_EQ(roster_.seats()[1].restarts, 0);
}

TEST_F(LifecycleDriverTest, WorkersThatStartAreCounted) {
  const WorkerIndex first = AddSeat(), second = AddSeat();
  Handle(first, E::kStart);
  Handle(second, E::kStart);
  EXPECT_EQ(driver_.starting(), 2);
  Handle(first, E::kReady);
  driver_.GiveUp(second, KillReason::kNotStarted, now_);
  EXPECT_EQ(driver_.starting(), 0);
}

TEST_F(LifecycleDriverTest, TheRecycleTimerGoesWhenTheWorkerServesNoMore) {
  const WorkerIndex index = AddReady();
  const SteadyTime at = now_ + milliseconds(1);
  timers_.Set(&roster_[index].recycling.timer, TimerKey(TimerKind::kRecycle, index), at);
  Handle(index, E::kUnhealthy);
  EXPECT_EQ(timers_.Next(), at) << "it serves still";
  board_[index].in_flight = 1;
  Handle(index, E::kRetire);
  EXPECT_EQ(timers_.Next(), std::nullopt);
  EXPECT_EQ(roster_[index].recycling.timer, std::nullopt);
}

TEST_F(LifecycleDriverTest, AKillHasTheReasonForWhichTheProcessHadToEnd) {
  const WorkerIndex silent = AddReady(), lost = AddReady(), asked = AddReady(), busy = AddReady();
  driver_.GiveUp(silent, KillReason::kSilent, now_);
  EXPECT_EQ(TakeKillReason(), KillReason::kSilent);
  driver_.GiveUp(silent, KillReason::kOutOfStep, now_);
  EXPECT_EQ(Count<KillWorker>(), 0) << "once is enough";
  Handle(lost, E::kConnectionLost);
  driver_.GiveUp(lost, KillReason::kOutOfStep, now_);
  Handle(lost, E::kGraceOver);
  EXPECT_EQ(TakeKillReason(), KillReason::kConnectionClosed) << "the first reason";
  driver_.Retire(asked, now_);
  EXPECT_EQ(Count<AskWorkerToEnd>(), 1);
  EXPECT_TRUE(roster_[asked].process.was_asked_to_end);
  Handle(asked, E::kGraceOver);
  EXPECT_EQ(TakeKillReason(), KillReason::kIgnoredEnd);
  board_[busy].in_flight = 1;
  Handle(busy, E::kStop);
  Handle(busy, E::kGraceOver);
  EXPECT_EQ(TakeKillReason(), KillReason::kHadCalls);
}

TEST_F(LifecycleDriverTest, ARetiredWorkerIsAskedToEndOnceItIsIdle) {
  const WorkerIndex index = AddReady();
  board_[index].waiting = 1;
  driver_.Retire(index, now_);
  EXPECT_EQ(Count<AskWorkerToEnd>(), 0);
  board_[index].waiting = 0;
  driver_.HandleIfIdle(index, now_);
  driver_.HandleIfIdle(index, now_);
  EXPECT_EQ(Count<AskWorkerToEnd>(), 1);
  Handle(index, E::kExited);
  EXPECT_EQ(StateOf(index), S::kGone) << "it is surplus";
}

TEST_F(LifecycleDriverTest, AfterAStopNoWorkerComesBack) {
  const WorkerIndex held = AddSeat(), idle = AddReady(), busy = AddReady();
  board_[busy].in_flight = 1;
  driver_.StopAll(now_);
  EXPECT_TRUE(driver_.stopping());
  EXPECT_EQ(StateOf(held), S::kGone);
  EXPECT_EQ(StateOf(idle), S::kStopping);
  EXPECT_EQ(StateOf(busy), S::kDraining);
  Handle(idle, E::kExited);
  Handle(busy, E::kExited);
  EXPECT_TRUE(roster_.AllGone());
  EXPECT_EQ(timers_.Next(), std::nullopt);
}

TEST_F(LifecycleDriverTest, TheBackoffDoublesUpToItsMaximum) {
  EXPECT_EQ(driver_.Backoff(0), milliseconds(0));
  const auto expect_up_to = [this](int failures, milliseconds longest) {
    milliseconds least = milliseconds::max(), most{0};
    for (int i = 0; i < 1'000; ++i) {
      const milliseconds wait = driver_.Backoff(failures);
      least = std::min(least, wait);
      most = std::max(most, wait);
    }
    EXPECT_GE(least, longest / 2) << failures;
    EXPECT_LE(most, longest) << failures;
    EXPECT_LT(least, longest * 6 / 10) << "it has jitter";
    EXPECT_GT(most, longest * 9 / 10) << failures;
  };
  expect_up_to(1, milliseconds(100));
  expect_up_to(2, milliseconds(200));
  expect_up_to(4, milliseconds(800));
  expect_up_to(5, milliseconds(1'000));
  expect_up_to(std::numeric_limits<int>::max(), milliseconds(1'000));
}

TEST_F(LifecycleDriverTest, TheWaitAfterFailuresIsTheTimerOfTheWorker) {
  const WorkerIndex index = AddReady();
  roster_.seats()[0].failures = 1;
  Handle(index, E::kExited);
  EXPECT_EQ(StateOf(index), S::kBackingOff);
  EXPECT_GE(TimeLeft(index), milliseconds(50));
  EXPECT_LE(TimeLeft(index), milliseconds(100));
}

TEST_F(LifecycleDriverTest, ChangesOfWorkersWithQueuesAreToldOnce) {
  const WorkerIndex first = AddReady(), second = AddReady();
  board_[second].waiting = 1;
  Handle(first, E::kUnhealthy);
  Handle(second, E::kHealthy);  // no change
  EXPECT_TRUE(driver_.TakeChangedWithQueue().empty());
  Handle(second, E::kUnhealthy);
  EXPECT_EQ(driver_.TakeChangedWithQueue(), std::vector<WorkerIndex>{second});
  EXPECT_TRUE(driver_.TakeChangedWithQueue().empty());
}

TEST_F(LifecycleDriverTest, AnEventThatCannotHappenIsAFault) {
  const WorkerIndex index = AddSeat();
  EXPECT_DEATH(Handle(index, E::kReady), "a worker that is backing off got the event 'ready'");
}

}  // namespace
}  // namespace snakepit
