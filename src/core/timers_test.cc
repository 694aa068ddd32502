#include "src/core/timers.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

using std::chrono::milliseconds;

TEST(Timers, FireInTheOrderOfTheirTimesAndThenOfTheirKinds) {
  Timers timers;
  const SteadyTime start{}, later = start + milliseconds(1);
  timers.Add(later, TimerKey(TimerKind::kCall, 7));
  timers.Add(start, TimerKey(TimerKind::kSession));
  timers.Add(start, TimerKey(TimerKind::kWorker, WorkerIndex{2}));
  EXPECT_EQ(timers.Next(), start);
  EXPECT_EQ(timers.TakeDue(later), TimerKey(TimerKind::kWorker, WorkerIndex{2}));
  EXPECT_EQ(timers.TakeDue(later), TimerKey(TimerKind::kSession));
  EXPECT_EQ(timers.TakeDue(start), std::nullopt) << "not due yet";
  EXPECT_EQ(timers.TakeDue(later), TimerKey(TimerKind::kCall, 7));
  EXPECT_EQ(timers.Next(), std::nullopt);
}

TEST(Timers, ATimerThatIsSetAgainMoves) {
  Timers timers;
  const TimerKey key(TimerKind::kHealth);
  std::optional<SteadyTime> timer;
  const SteadyTime start{}, later = start + milliseconds(5);
  timers.Set(&timer, key, start);
  timers.Set(&timer, key, later);
  EXPECT_EQ(timers.Next(), later);
  timers.Set(&timer, key, std::nullopt);
  EXPECT_EQ(timers.Next(), std::nullopt);
  EXPECT_EQ(timer, std::nullopt);
}

TEST(Timers, AKeyKeepsItsKindAndItsNumber) {
  const TimerKey key(TimerKind::kRecycle, WorkerIndex{999});
  EXPECT_EQ(key.kind(), TimerKind::kRecycle);
  EXPECT_EQ(key.worker(), WorkerIndex{999});
}

}  // namespace
}  // namespace snakepit
