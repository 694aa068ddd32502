#include "src/pool/explain.h"

#include <gtest/gtest.h>

#include <csignal>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A core without a pool. Its workers are told ready or ended by hand.
class ExplainTest : public ::testing::Test {
 protected:
  void Begin(int workers) {
    options_.workers = workers;
    options_.max_starting = workers;
    options_.health.interval = milliseconds(0);
    core_.emplace(options_, /*seed=*/1);
    core_->Start(now_);
  }

  std::vector<ProcessNumber> Spawned() {
    Effects effects;
    core_->TakeEffects(&effects);
    std::vector<ProcessNumber> processes;
    for (const Effect& effect : effects) {
      if (const auto* spawn = std::get_if<SpawnWorker>(&effect))
        processes.push_back(spawn->process);
    }
    return processes;
  }

  void Submit() {
    ASSERT_TRUE(core_->Submit({.session_id = {},
                               .queue_deadline = now_ + seconds(5),
                               .deadline = now_ + seconds(5),
                               .bytes = 100},
                              now_));
  }

  PoolState State() const { return {*core_, options_, last_start_error_, now_}; }

  PoolOptions options_;
  std::optional<Core> core_;
  std::optional<Error> last_start_error_;
  Core::Time now_{std::chrono::hours(1)};
};

TEST_F(ExplainTest, AFullQueueIsToldWithItsFiguresAndWorkers) {
  Begin(3);
  core_->Ready(Spawned()[0], /*capacity=*/2, /*checks_while_busy=*/true, now_);
  for (int call = 0; call < 3; ++call) Submit();
  now_ += milliseconds(70);
  const Error error = RefusalError(Refusal::kQueueFull, State());
  EXPECT_EQ(error.ToString(),
            "QUEUE_FULL: no worker is free and the queue is full: 1 of 1000 calls queued (100 of "
            "268435456 bytes), the oldest for 70 ms; the workers are 2 starting, 1 ready (2 in "
            "flight, capacity 2)");
  EXPECT_FALSE(error.may_have_run);
}

TEST_F(ExplainTest, ThePoolsNameBeginsItsErrors) {
  options_.name = "gpu";
  Begin(1);
  EXPECT_EQ(RefusalError(Refusal::kClosed, State()).message,
            "pool gpu: the pool takes no more calls: it drains, or is shut down");
  EXPECT_EQ(RefusedAsEndingError(options_, "worker 0 (pid 7)").ToString(),
            "WORKER_LOST: pool gpu: worker 0 (pid 7) is ending, though the pool had not asked it "
            "to: it refused the call, which was not executed");
}

TEST_F(ExplainTest, AnOpenBreakerTellsItsCauseAndItsNextProbe) {
  options_.restart.burst = 1;
  last_start_error_ = Error{.message = "no such program"};
  Begin(1);
  for (int end = 0; end < 2; ++end) {
    for (ProcessNumber process : Spawned()) core_->Exited(process, {.code = 1}, now_);
    now_ += milliseconds(200);
    core_->Tick(now_);
  }
  ASSERT_EQ(core_->supervisor().breaker().state(), BreakerState::kOpen);
  const Error error = RefusalError(Refusal::kBreakerOpen, State());
  EXPECT_EQ(error.ToString(),
            "UNAVAILABLE: workers are not started any more for now, as too many ended: 2 within "
            "10000 ms without having answered a call, 2 within 600000 ms in all; one is tried in "
            "9800 ms; the last start that failed: no such program");
  EXPECT_EQ(BreakerNews(State()).first, LogLevel::kError);
  EXPECT_EQ("UNAVAILABLE: " + BreakerNews(State()).second, error.ToString());
}

TEST_F(ExplainTest, OnlyACallThatAWorkerHadMayHaveRun) {
  Begin(1);
  using Why = EndCall::Why;
  const std::pair<Why, ErrorCode> kinds[] = {{Why::kQueueTimeout, ErrorCode::kQueueTimeout},
                                             {Why::kDeadlineExceeded, ErrorCode::kDeadlineExceeded},
                                             {Why::kCancelled, ErrorCode::kCancelled},
                                             {Why::kShutdown, ErrorCode::kCancelled},
                                             {Why::kBreakerOpen, ErrorCode::kUnavailable},
                                             {Why::kSessionLost, ErrorCode::kSessionLost}};
  for (const auto& [why, code] : kinds) {
    const Error error = EndError({.call = 1, .why = why, .exit = {}}, State(), {});
    EXPECT_EQ(error.code, code);
    EXPECT_FALSE(error.may_have_run) << error.ToString();
    EXPECT_NE(error.message.find("not executed"), std::string::npos) << error.message;
  }
  const Error lost = EndError({.call = 1, .why = Why::kWorkerLost, .exit = ExitStatus{.code = 3}},
                              State(), {"worker 0 (pid 7)", "", "the tail"});
  EXPECT_EQ(lost.ToString(),
            "WORKER_LOST: worker 0 (pid 7) ended by exit code 3 while it had the call");
  EXPECT_TRUE(lost.may_have_run);
  EXPECT_EQ(lost.stderr_tail, "the tail");
}

TEST_F(ExplainTest, ALossNamesItsKillerAndTheTransportsAccount) {
  Begin(1);
  const EndCall end{.call = 1, .why = EndCall::Why::kWorkerLost, .exit = {}};
  const ProcessAccount process{"worker 0 (pid 7)", "it did not start", ""};
  EXPECT_EQ(EndError(end, State(), process).message,
            "worker 0 (pid 7) closed its connection while it had the call; it was killed, as it "
            "did not start; how its process ends was not known in time");
  const Error seen{.message = "half a frame", .may_have_run = false};
  const Error both = WithTransportError(EndError(end, State(), process), seen);
  EXPECT_TRUE(both.message.ends_with("not known in time: half a frame")) << both.message;
  EXPECT_FALSE(both.may_have_run);
}

TEST_F(ExplainTest, AKillTellsWhatThePoolHadAgainstTheWorker) {
  EXPECT_EQ(KillText(KillReason::kOutOfStep, "", options_),
            "it sent what the protocol does not allow");
  EXPECT_EQ(KillText(KillReason::kOutOfStep, "a bad id", options_),
            "it sent what the protocol does not allow: a bad id");
  EXPECT_EQ(KillText(KillReason::kConnectionClosed, "", options_),
            "it did not end within 200 ms after it had closed its connection");
  const ExitStatus killed{.code = 0, .signal = SIGKILL};
  EXPECT_EQ(KilledByText(killed, "it hung"), ", as it hung");
  EXPECT_EQ(KilledByText(killed, ""),
            "; the pool did not send it (the kernel does when memory runs out: see its log)");
  EXPECT_EQ(KilledByText({.code = 9}, "it hung"), "");
}

TEST_F(ExplainTest, ASilentWorkerIsToldFromOneThatAnswersWrongly) {
  EXPECT_EQ(SilenceText({.code = ErrorCode::kDeadlineExceeded}, "", options_),
            "it did not answer a health check within 10000 ms: it was stopped, or hung");
  EXPECT_EQ(SilenceText({.code = ErrorCode::kProtocolError, .message = "an array"}, "", options_),
            "its answer to a health check was none: an array");
}

}  // namespace
}  // namespace snakepit
