#include "src/pool/figures.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

namespace snakepit {
namespace {

using std::chrono::milliseconds;

class FiguresTest : public ::testing::Test {
 protected:
  // A core whose workers start; process n is that of worker n - 1.
  Core& Start(int workers) {
    options_.workers = options_.max_starting = workers;
    core_.emplace(options_, /*seed=*/1);
    core_->Start(now_);
    return *core_;
  }
  void Ready(ProcessNumber process, int capacity = 1) {
    core_->Ready(process, capacity, /*checks_while_busy=*/true, now_);
  }
  void Submit(size_t bytes = 0) {
    ASSERT_TRUE(core_->Submit({.session_id = {},
                               .queue_deadline = now_ + std::chrono::hours(1),
                               .deadline = now_ + std::chrono::hours(1),
                               .bytes = bytes},
                              now_));
  }
  PoolStats Figures() const { return FiguresOf(*core_, now_); }

  PoolOptions options_;
  Core::Time now_{};
  std::optional<Core> core_;
};

TEST_F(FiguresTest, AWorkerThatWasNeverReadyCountsAsOneWantedCall) {
  Start(3);
  Ready(1, /*capacity=*/4);
  Ready(2, /*capacity=*/2);
  core_->HealthReported(2, HealthReport::kUnhealthy, now_);
  const PoolStats stats = Figures();
  EXPECT_EQ(stats.workers, 3);
  EXPECT_EQ(stats.workers_ready, 1);
  EXPECT_EQ(stats.usable_capacity, 4) << "an unready worker is of no use";
  EXPECT_EQ(stats.wanted_capacity, 4 + 2 + 1);
}

TEST_F(FiguresTest, TheQueueIsToldWithItsLongestWait) {
  Start(1);
  EXPECT_EQ(Figures().oldest_queued, milliseconds(0)) << "none is queued";
  Submit(/*bytes=*/10);
  now_ += milliseconds(30);
  Submit(/*bytes=*/7);
  now_ += milliseconds(5);
  EXPECT_EQ(Figures().calls_queued, 2u);
  EXPECT_EQ(Figures().bytes_queued, 17u);
  EXPECT_EQ(Figures().oldest_queued, milliseconds(35));
  EXPECT_EQ(Figures().calls_in_flight, 0);
  Ready(1);
  EXPECT_EQ(Figures().calls_queued, 1u);
  EXPECT_EQ(Figures().oldest_queued, milliseconds(5));
  EXPECT_EQ(Figures().calls_in_flight, 1);
}

TEST_F(FiguresTest, TheCallsOfAWorkerThatIsLeavingAreInFlightToo) {
  Start(2);
  Ready(1), Ready(2);
  Submit(), Submit();
  ASSERT_TRUE(core_->Resize(1, now_));
  EXPECT_EQ(Figures().workers, 1);
  EXPECT_EQ(Figures().workers_ready, 1);
  EXPECT_EQ(Figures().calls_in_flight, 2);
}

TEST_F(FiguresTest, EndsOfProcessesAreCountedByTheirKind) {
  options_.restart.burst = 2;
  Start(1);
  core_->Exited(1, {.code = 1}, now_);
  for (ProcessNumber process : {2, 3}) {
    core_->Tick(now_ += options_.restart.max_backoff);
    Ready(process);
    core_->Exited(process, {.code = 1}, now_);
  }
  core_->Tick(now_ += milliseconds(1));
  const PoolStats stats = Figures();
  EXPECT_EQ(stats.boot_failures, 1);
  EXPECT_EQ(stats.crashes, 2);
  EXPECT_EQ(stats.restarts, 2);
  EXPECT_EQ(stats.recycled, 0);
}

TEST_F(FiguresTest, AWorkerThatIsReplacedComesAfterThoseOfTheSeats) {
  Start(2);
  Ready(1), Ready(2);
  Submit();
  ASSERT_TRUE(core_->Restart(now_));
  const auto states = [this] {
    std::vector<std::pair<int, WorkerState>> states;
    for (const auto& [process, info] : WorkersOf(*core_)) states.emplace_back(info.id, info.state);
    return states;
  };
  using S = WorkerState;
  using States = std::vector<std::pair<int, S>>;
  EXPECT_EQ(states(), (States{{0, S::kReady}, {1, S::kReady}, {0, S::kStarting}}));
  Ready(3);
  EXPECT_EQ(states(), (States{{0, S::kReady}, {1, S::kReady}, {0, S::kDraining}}));
  EXPECT_EQ(WorkersOf(*core_)[0].first, 3u);
  EXPECT_EQ(WorkersOf(*core_)[2].first, 1u);
  EXPECT_EQ(WorkersOf(*core_)[2].second.calls_in_flight, 1);
  EXPECT_EQ(Figures().recycled, 1);
}

TEST_F(FiguresTest, AGoneWorkerIsLeftOutAndASurplusOneIsNot) {
  Start(3);
  Ready(1), Ready(2), Ready(3);
  ASSERT_TRUE(core_->Resize(1, now_));
  ASSERT_EQ(WorkersOf(*core_).size(), 3u);
  EXPECT_EQ(WorkersOf(*core_)[1].second.state, WorkerState::kStopping);
  core_->Exited(2, {}, now_);
  ASSERT_EQ(WorkersOf(*core_).size(), 2u);
  EXPECT_EQ(WorkersOf(*core_)[1].second.id, 2);
  core_->Exited(3, {}, now_);
  EXPECT_EQ(WorkersOf(*core_).size(), 1u);
}

TEST_F(FiguresTest, TheRestartsOfAnIdStayWithIt) {
  Start(2);
  Ready(1), Ready(2);
  core_->Exited(2, {.code = 1}, now_);
  core_->Tick(now_ += options_.restart.max_backoff);
  const auto workers = WorkersOf(*core_);
  EXPECT_EQ(workers[0].second.restarts, 0);
  EXPECT_EQ(workers[1].second.restarts, 1);
  EXPECT_EQ(workers[1].first, 3u) << "its latest process";
}

}  // namespace
}  // namespace snakepit
