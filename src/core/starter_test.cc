#include "src/core/starter.h"

#include "src/core/testing/parts.h"

namespace snakepit {
namespace {

using StarterTest = PartsTest;

TEST_F(StarterTest, AWorkerOverTheLimitIsHeldUntilAnotherHasStarted) {
  options_.max_starting = 1;
  const WorkerIndex first = AddSeat(), second = AddSeat();
  starter_.StartOrHold(first, now_);
  starter_.StartOrHold(second, now_);
  EXPECT_EQ(Count<SpawnWorker>(), 1);
  starter_.StartHeld(now_);
  EXPECT_EQ(StateOf(second), WorkerState::kBackingOff);
  driver_.Handle(first, WorkerEvent::kReady, now_);
  starter_.StartHeld(now_);
  EXPECT_EQ(StateOf(second), WorkerState::kStarting);
}

TEST_F(StarterTest, AnOpenBreakerHoldsAllButOneProbe) {
  options_.restart.burst = 1;
  const WorkerIndex first = AddSeat(), second = AddSeat();
  for (int i = 0; i < 3; ++i) starter_.ProcessFailed(99, /*has_served=*/false, now_);
  starter_.StartOrHold(first, now_);
  starter_.StartOrHold(second, now_);
  EXPECT_EQ(Count<SpawnWorker>(), 0);
  EXPECT_TRUE(starter_.IsOut());
  starter_.BreakerTimerFired(now_);
  starter_.StartProbe(now_);
  starter_.StartProbe(now_);
  EXPECT_EQ(Count<SpawnWorker>(), 1);
  starter_.ProcessServed(board_[first].process, now_);
  EXPECT_TRUE(starter_.IsClosed());
  EXPECT_EQ(Count<SpawnWorker>(), 1) << "the second starts, too";
}

TEST_F(StarterTest, AProbeThatFailsOpensTheBreakerAgain) {
  options_.restart.burst = 1;
  const WorkerIndex index = AddSeat();
  for (int i = 0; i < 2; ++i) starter_.ProcessFailed(99, /*has_served=*/false, now_);
  starter_.BreakerTimerFired(now_);
  starter_.StartProbe(now_);
  starter_.ProcessFailed(board_[index].process, /*has_served=*/false, now_);
  EXPECT_EQ(starter_.breaker().state(), BreakerState::kOpen);
  EXPECT_EQ(starter_.breaker().times_opened(), 2);
}

}  // namespace
}  // namespace snakepit
