#include "src/core/health_checks.h"

#include "src/core/testing/parts.h"

namespace snakepit {
namespace {

using HealthChecksTest = PartsTest;

TEST_F(HealthChecksTest, AWorkerHasOneCheckAtATime) {
  const WorkerIndex index = AddReady();
  roster_[index].health.checks_while_busy = true;
  board_[index].in_flight = 1;
  health_checks_.TimerFired(now_);
  EXPECT_EQ(Count<CheckWorker>(), 1);
  EXPECT_FALSE(board_[index].check_is_call);
  health_checks_.TimerFired(now_);
  EXPECT_EQ(Count<CheckWorker>(), 0);
  health_checks_.Reported(index, HealthReport::kUnknown, now_);
  health_checks_.TimerFired(now_);
  EXPECT_EQ(Count<CheckWorker>(), 1);
}

TEST_F(HealthChecksTest, ACheckOfALegacyWorkerTakesThePlaceOfACall) {
  const WorkerIndex index = AddReady();
  board_[index].in_flight = 1;
  health_checks_.TimerFired(now_);
  EXPECT_EQ(Count<CheckWorker>(), 0) << "it cannot answer now";
  board_[index].in_flight = 0;
  health_checks_.TimerFired(now_);
  EXPECT_EQ(Count<CheckWorker>(), 1);
  EXPECT_FALSE(board_[index].HasRoom());
  health_checks_.Reported(index, HealthReport::kHealthy, now_);
  EXPECT_TRUE(board_[index].HasRoom());
}

TEST_F(HealthChecksTest, UnhealthyReportsInARowMakeAWorkerDue) {
  const WorkerIndex index = AddReady();
  const auto report = [&](HealthReport what) { health_checks_.Reported(index, what, now_); };
  for (int i = 1; i < HealthChecks::kUnhealthyLimit; ++i) report(HealthReport::kUnhealthy);
  EXPECT_EQ(StateOf(index), WorkerState::kUnready);
  report(HealthReport::kHealthy);
  EXPECT_EQ(StateOf(index), WorkerState::kReady);
  for (int i = 1; i < HealthChecks::kUnhealthyLimit; ++i) report(HealthReport::kUnhealthy);
  EXPECT_FALSE(replacer_.any_due());
  report(HealthReport::kUnhealthy);
  EXPECT_TRUE(replacer_.any_due());
}

TEST_F(HealthChecksTest, ASilentWorkerIsKilled) {
  const WorkerIndex index = AddReady();
  health_checks_.Reported(index, HealthReport::kSilent, now_);
  EXPECT_EQ(StateOf(index), WorkerState::kKilled);
}

TEST_F(HealthChecksTest, AClosedConnectionCountsOnlyWithoutCalls) {
  const WorkerIndex index = AddReady();
  board_[index].in_flight = 1;
  health_checks_.Reported(index, HealthReport::kLost, now_);
  EXPECT_EQ(StateOf(index), WorkerState::kReady) << "the transport of its call will report";
  board_[index].in_flight = 0;
  health_checks_.Reported(index, HealthReport::kLost, now_);
  EXPECT_EQ(StateOf(index), WorkerState::kStopping);
}

}  // namespace
}  // namespace snakepit
