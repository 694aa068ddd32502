// The scheduler alone: the test plays the supervisor, and writes the views of the workers.
#include "src/core/scheduler.h"

#include <gtest/gtest.h>

#include <utility>

namespace snakepit {
namespace {

using std::chrono::milliseconds;

class SchedulerTest : public testing::Test {
 protected:
  void Begin(int workers) {
    for (int id = 0; id < workers; ++id) {
      board_.Add({.id = id, .state = WorkerState::kReady, .process = ProcessNumber(id + 1)});
    }
  }
  Scheduler::Accepted Submit(std::string_view session = "") {
    const auto accepted = scheduler_.Submit({.session_id = session,
                                             .queue_deadline = now_ + milliseconds(100),
                                             .deadline = now_ + milliseconds(1000)},
                                            /*is_out=*/false, now_);
    EXPECT_TRUE(accepted);
    return accepted.value_or(Scheduler::Accepted{0, kNoWorker});
  }
  // The EndCall effects since the last time.
  std::vector<EndCall> Ended() {
    std::vector<EndCall> ended;
    for (const Effect& effect : std::exchange(effects_, {})) {
      if (auto* end = std::get_if<EndCall>(&effect)) ended.push_back(*end);
    }
    return ended;
  }

  static constexpr WorkerIndex kFirst{0}, kSecond{1};
  PoolOptions options_;
  SteadyTime now_{};
  WorkerBoard board_;
  Timers timers_;
  Effects effects_;
  Scheduler scheduler_{options_, &board_, &timers_, &effects_};
};

TEST_F(SchedulerTest, ACallCountsInTheViewFromItsDispatchToItsEnd) {
  Begin(1);
  const auto call = Submit();
  EXPECT_EQ(call.worker, kFirst);
  EXPECT_EQ(board_[kFirst].in_flight, 1);
  EXPECT_EQ(board_[kFirst].calls_started, 1);
  now_ += milliseconds(7);
  EXPECT_EQ(scheduler_.CallEnded(call.call, CallReport::kSucceeded, now_), kFirst);
  EXPECT_EQ(board_[kFirst].in_flight, 0);
  EXPECT_EQ(board_[kFirst].idle_since, now_);
  EXPECT_EQ(scheduler_.calls(), 0u);
}

TEST_F(SchedulerTest, AQueuedCallIsRoutedWhenAWorkerHasRoom) {
  Begin(1);
  const auto running = Submit(), queued = Submit();
  EXPECT_EQ(queued.worker, kNoWorker);
  EXPECT_FALSE(scheduler_.RouteNext(now_));
  scheduler_.CallEnded(running.call, CallReport::kSucceeded, now_);
  const auto routed = scheduler_.RouteNext(now_);
  ASSERT_TRUE(routed);
  EXPECT_EQ(routed->dispatched_to, kFirst);
  EXPECT_FALSE(scheduler_.RouteNext(now_));
}

TEST_F(SchedulerTest, WithoutAWorkerSoonNoCallIsQueued) {
  const auto refused = scheduler_.Submit({.session_id = ""}, /*is_out=*/true, now_);
  EXPECT_EQ(refused.error(), Refusal::kBreakerOpen);
}

TEST_F(SchedulerTest, ALostCallEndsWithTheExitOfItsProcess) {
  Begin(1);
  const auto call = Submit();
  EXPECT_EQ(scheduler_.CallEnded(call.call, CallReport::kLost, now_), kFirst);
  EXPECT_TRUE(Ended().empty());
  scheduler_.ProcessGone(kFirst, ExitStatus{.code = 3}, now_);
  const auto ended = Ended();
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].exit, (ExitStatus{.code = 3}));
  EXPECT_EQ(board_[kFirst].in_flight, 0);
  EXPECT_EQ(timers_.Next(), std::nullopt);
}

TEST_F(SchedulerTest, AReportOfAGoneProcessConcernsNoWorker) {
  Begin(1);
  const auto call = Submit();
  scheduler_.ProcessGone(kFirst, ExitStatus{}, now_);
  board_[kFirst].process = 2;
  board_[kFirst].in_flight = 0;
  EXPECT_EQ(scheduler_.CallEnded(call.call, CallReport::kSucceeded, now_), kNoWorker);
  EXPECT_EQ(board_[kFirst].in_flight, 0);
}

TEST_F(SchedulerTest, TheQueueOfAWorkerMovesWhenItDoesNotServe) {
  Begin(2);
  Submit("s");
  Submit("s");  // agrees with the first on one worker
  EXPECT_EQ(board_[kFirst].waiting, 1);
  board_[kFirst].state = WorkerState::kStopping;
  scheduler_.StateChanged(kFirst, now_);
  EXPECT_EQ(board_[kFirst].waiting, 0);
  EXPECT_EQ(scheduler_.RouteNext(now_)->dispatched_to, kSecond);
}

TEST_F(SchedulerTest, ACancelledCallNamesTheWorkerThatItWaitedFor) {
  Begin(2);
  const auto running = Submit("s"), waiting = Submit("s");
  EXPECT_EQ(scheduler_.Cancel(running.call, now_), kNoWorker) << "its transport will report";
  EXPECT_EQ(scheduler_.Cancel(waiting.call, now_), kFirst);
  EXPECT_EQ(Ended().size(), 1u);
}

TEST_F(SchedulerTest, AStopEndsEveryQueue) {
  Begin(2);
  Submit("s"), Submit("s"), Submit(), Submit();
  EXPECT_EQ(scheduler_.queued(), 2u);
  scheduler_.Stop(now_);
  EXPECT_EQ(scheduler_.queued(), 0u);
  EXPECT_EQ(Ended().size(), 2u);
  EXPECT_EQ(timers_.Next(), std::nullopt);
}

}  // namespace
}  // namespace snakepit
