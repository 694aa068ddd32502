#include "src/core/recycler.h"

#include "src/core/testing/parts.h"

namespace snakepit {
namespace {

class RecyclerTest : public PartsTest {
 protected:
  WorkerIndex AddWithLimits() {
    const WorkerIndex index = AddReady();
    recycler_.DrawLimits(index);
    return index;
  }
  std::optional<ReplaceReason> DueOf(WorkerIndex index) const {
    return roster_[index].recycling.due;
  }
};

TEST_F(RecyclerTest, LimitsAreDrawnFromNineTenthsUp) {
  options_.recycle.max_calls = 1000;
  for (int i = 0; i < 50; ++i) {
    const int64_t limit = roster_[AddWithLimits()].recycling.limits.max_calls;
    EXPECT_GE(limit, 900);
    EXPECT_LE(limit, 1000);
  }
}

TEST_F(RecyclerTest, AWorkerIsDueAfterItsCalls) {
  options_.recycle.max_calls = 1;
  const WorkerIndex index = AddWithLimits();
  recycler_.CallStarted(index);
  EXPECT_EQ(DueOf(index), std::nullopt);
  board_[index].calls_started = 1;
  recycler_.CallStarted(index);
  EXPECT_EQ(DueOf(index), ReplaceReason::kMaxCalls);
  EXPECT_TRUE(replacer_.any_due());
}

TEST_F(RecyclerTest, TheTimerIsSetToTheTimeWhenTheWorkerMayBeTooOld) {
  options_.recycle.max_age = milliseconds(1000);
  const WorkerIndex index = AddWithLimits();
  recycler_.TimerFired(index, now_);
  const SteadyTime end = now_ + roster_[index].recycling.limits.max_age;
  EXPECT_EQ(roster_[index].recycling.timer, end);
  recycler_.TimerFired(index, end);
  EXPECT_EQ(DueOf(index), ReplaceReason::kMaxAge);
}

TEST_F(RecyclerTest, ABusyWorkerIsNotIdle) {
  options_.recycle.max_idle = milliseconds(100);
  const WorkerIndex index = AddWithLimits();
  board_[index].calls_started = 1;
  board_[index].in_flight = 1;
  recycler_.TimerFired(index, now_ + milliseconds(500));
  EXPECT_EQ(DueOf(index), std::nullopt);
  board_[index].in_flight = 0;
  recycler_.TimerFired(index, now_ + milliseconds(500));
  EXPECT_EQ(DueOf(index), ReplaceReason::kMaxIdle);
}

TEST_F(RecyclerTest, GrowthCountsFromTheFirstMeasurementAfterTheWarmUp) {
  options_.recycle.max_rss_growth_bytes = 100;
  options_.recycle.warm_up_calls = 1;
  const WorkerIndex index = AddWithLimits();
  EXPECT_TRUE(recycler_.Measures(index));
  recycler_.MemoryMeasured(index, 1'000);
  board_[index].calls_started = 1;
  recycler_.MemoryMeasured(index, 5'000);
  recycler_.MemoryMeasured(index, 5'050);
  EXPECT_EQ(DueOf(index), std::nullopt);
  recycler_.MemoryMeasured(index, 5'101);
  EXPECT_EQ(DueOf(index), ReplaceReason::kRssGrowth);
}

}  // namespace
}  // namespace snakepit
