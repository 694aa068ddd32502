// The supervisor alone: the test plays the scheduler, and writes its part of the views.
#include "src/core/supervisor.h"

#include <gtest/gtest.h>

#include <utility>

namespace snakepit {
namespace {

using std::chrono::milliseconds;

class SupervisorTest : public testing::Test {
 protected:
  void Begin(int workers) {
    options_.workers = workers;
    options_.max_starting = 1000;
    supervisor_.Start(now_);
    for (WorkerIndex index{0}; index != board_.end_index(); ++index) {
      supervisor_.Ready(index, 1, /*checks_while_busy=*/true, now_);
    }
    EXPECT_TRUE(supervisor_.roster().AllReady());
    effects_.clear();
  }
  template <typename T>
  int Count() {
    int count = 0;
    for (const Effect& effect : std::exchange(effects_, {})) {
      count += std::holds_alternative<T>(effect);
    }
    return count;
  }

  static constexpr WorkerIndex kFirst{0}, kSecond{1};
  PoolOptions options_;
  SteadyTime now_{};
  WorkerBoard board_;
  Timers timers_;
  Effects effects_;
  Supervisor supervisor_{options_, 1, &board_, &timers_, &effects_};
};

TEST_F(SupervisorTest, ARetiredWorkerEndsWhenItsLastCallHasLeft) {
  Begin(2);
  board_[kSecond].in_flight = 1;
  board_[kSecond].waiting = 1;
  supervisor_.Resize(1, now_);
  EXPECT_EQ(Count<AskWorkerToEnd>(), 0);
  EXPECT_EQ(supervisor_.TakeChangedWithQueue(), std::vector<WorkerIndex>{kSecond});
  board_[kSecond].waiting = 0;
  supervisor_.CallLeft(kSecond, now_);
  EXPECT_EQ(Count<AskWorkerToEnd>(), 0);
  board_[kSecond].in_flight = 0;
  supervisor_.CallLeft(kSecond, now_);
  EXPECT_EQ(Count<AskWorkerToEnd>(), 1);
}

TEST_F(SupervisorTest, AnOverrunWithOtherCallsGivesTheSeatAway) {
  Begin(1);
  board_[kFirst].in_flight = 1;
  supervisor_.CallEnded(kFirst, CallReport::kFailedOverran, now_);
  EXPECT_EQ(board_[kFirst].state, WorkerState::kDraining);
  EXPECT_NE(supervisor_.roster().seats()[0].worker, kFirst);
  EXPECT_EQ(supervisor_.roster().counts().crashes, 1);
}

TEST_F(SupervisorTest, AnOverrunWithoutOtherCallsKills) {
  Begin(1);
  supervisor_.CallEnded(kFirst, CallReport::kFailedOverran, now_);
  EXPECT_EQ(Count<KillWorker>(), 1);
}

TEST_F(SupervisorTest, AKilledProcessThatStaysIsDisowned) {
  Begin(1);
  supervisor_.Unusable(kFirst, now_);
  now_ += LifecycleDriver::kKillLimit;
  EXPECT_EQ(timers_.TakeDue(now_), TimerKey(TimerKind::kWorker, kFirst));
  effects_.clear();
  EXPECT_TRUE(supervisor_.WorkerTimerFired(kFirst, now_));
  EXPECT_EQ(Count<DisownProcess>(), 1);
  EXPECT_EQ(board_[kFirst].state, WorkerState::kBackingOff);
}

TEST_F(SupervisorTest, AnAnsweredCallEndsTheRowOfFailures) {
  Begin(1);
  supervisor_.Exited(kFirst, now_);
  EXPECT_EQ(supervisor_.roster().seats()[0].failures, 1);
  now_ += options_.restart.initial_backoff;
  timers_.TakeDue(now_);
  supervisor_.WorkerTimerFired(kFirst, now_);
  supervisor_.Ready(kFirst, 1, true, now_);
  supervisor_.CallEnded(kFirst, CallReport::kSucceeded, now_);
  EXPECT_EQ(supervisor_.roster().seats()[0].failures, 0);
}

TEST_F(SupervisorTest, ASurplusWorkerIsGoneAfterItsExit) {
  Begin(2);
  supervisor_.Resize(1, now_);
  supervisor_.Exited(kSecond, now_);
  EXPECT_EQ(board_[kSecond].state, WorkerState::kGone);
  EXPECT_EQ(supervisor_.roster().counts().crashes, 0) << "it was asked to end";
}

TEST_F(SupervisorTest, AStopLeavesNoTimerOnceAllHaveExited) {
  Begin(2);
  supervisor_.Stop(now_);
  supervisor_.Exited(kFirst, now_);
  supervisor_.Exited(kSecond, now_);
  supervisor_.StartAndReplace(now_);
  EXPECT_TRUE(supervisor_.roster().AllGone());
  EXPECT_EQ(timers_.Next(), std::nullopt);
}

}  // namespace
}  // namespace snakepit
