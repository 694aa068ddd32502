// Operations of a running pool, the same on both transports: replacement in order, hangs that are
// found, crash loops, more workers or fewer.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <map>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "src/pool/testing/operations_fixture.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::Await;
using testing::kOperationsLimit;
using testing::OperationsTest;

// --- Restart, and replacement for a reason -----------------------------------------------------

TEST_P(OperationsTest, ARollingRestartFailsNoCallAndExecutesNoneTwice) {
  constexpr int kCalls = 10'000;
  constexpr int kCallers = 8;
  Begin(4);
  std::set<pid_t> before;
  for (const WorkerInfo& worker : pool_->Workers()) before.insert(worker.pid);
  std::atomic<int> next{0}, failed{0};
  std::atomic<bool> restarted{false};
  std::vector<std::thread> callers;
  for (int c = 0; c < kCallers; ++c) {
    callers.emplace_back([&] {
      // At least so many, and until the restart is through.
      for (int id = next++; id < kCalls || !restarted; id = next++) {
        auto result = pool_->Execute("record", Value::Map{{"id", id}});
        if (!result && failed++ < 5) ADD_FAILURE() << result.error().ToString();
      }
    });
  }
  ASSERT_TRUE(Await([&next] { return next > kCalls / 10; }));
  const auto result = pool_->Restart();
  restarted = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(failed, 0);

  std::map<int, int> executions;
  std::ifstream journal(folder_ + "/journal");
  for (int id; journal >> id;) ++executions[id];
  EXPECT_GE(executions.size(), static_cast<size_t>(kCalls));
  for (const auto& [id, times] : executions) ASSERT_EQ(times, 1) << id;
  for (const WorkerInfo& worker : pool_->Workers()) {
    EXPECT_EQ(before.count(worker.pid), 0u) << "an old one";
  }
  for (pid_t pid : before) EXPECT_FALSE(testing::IsAlive(pid));
  const PoolStats stats = pool_->Stats();
  EXPECT_EQ(stats.recycled, 4);
  EXPECT_EQ(stats.crashes + stats.restarts, 0);
  EXPECT_EQ(stats.calls_succeeded, stats.calls_accepted);
}

TEST_P(OperationsTest, ARestartWhoseNewWorkersDoNotStartLeavesTheOldOnesServing) {
  Begin(2);
  const pid_t pid = PidOf(0);
  Write("broken", "");
  const auto failed = pool_->Restart();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kStartFailed) << failed.error().ToString();
  EXPECT_NE(failed.error().stderr_tail.find("the model is broken"), std::string::npos);
  EXPECT_EQ(PidOf(0), pid);
  ServedBy();
  EXPECT_EQ(pool_->Stats().boot_failures, 1) << "none but the first was tried";
  Remove("broken");
  const auto restarted = pool_->Restart();
  EXPECT_TRUE(restarted) << restarted.error().ToString();
  EXPECT_NE(PidOf(0), pid);
}

TEST_P(OperationsTest, ARestartEndsWithItsTimeLimitOrThePool) {
  capacity_ = 2;
  Begin(1);
  std::promise<Result<Value>> ended;
  pool_->Submit("sleep", Value::Map{{"ms", 1000}},
                [&ended](Result<Value> result) { ended.set_value(std::move(result)); });
  auto late = pool_->Restart(milliseconds(1));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kDeadlineExceeded) << late.error().ToString();
  auto restart = std::async([this] { return pool_->Restart(); });
  EXPECT_TRUE(ended.get_future().get());
  EXPECT_TRUE(pool_->Drain(seconds(20)));
  const auto result = restart.get();  // either it was through, or the pool is closed
  if (!result) {
    EXPECT_EQ(result.error().code, ErrorCode::kUnavailable);
  }
  EXPECT_EQ(pool_->Restart().error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(pool_->Restart(milliseconds(0)).error().code, ErrorCode::kInvalidArgument);
}

TEST_P(OperationsTest, AShutdownEndsARestartThatWaitsForAWorkerToBackOff) {
  options_.restart.initial_backoff = options_.restart.max_backoff = seconds(600);
  Begin(1);
  kill(PidOf(0), SIGKILL);
  ASSERT_TRUE(Await([this] { return pool_->Workers()[0].state == WorkerState::kBackingOff; }));
  auto restart = std::async([this] { return pool_->Restart(); });
  ASSERT_TRUE(log_.WaitFor("every worker is replaced"));
  pool_->Shutdown();
  ASSERT_EQ(restart.wait_for(kOperationsLimit), std::future_status::ready);
  EXPECT_EQ(restart.get().error().code, ErrorCode::kUnavailable);
}

// Breakage 10 of pools in the field: the old worker was stopped before the new one was ready.
TEST_P(OperationsTest, WorkersAreRecycledAfterSoManyCallsAndNoCallFails) {
  options_.recycle.max_calls = 50;
  Begin(1);
  std::set<pid_t> served;
  ASSERT_TRUE(Await([&] {
    served.insert(ServedBy());
    return served.size() >= 4;
  })) << log_.Text();
  EXPECT_GE(pool_->Stats().recycled, 3);
  EXPECT_EQ(pool_->Stats().calls_failed, 0);
  EXPECT_EQ(pool_->Stats().restarts, 0);
}

TEST_P(OperationsTest, AWorkerIsRecycledWhenItsMemoryHasGrown) {
  options_.recycle.max_rss_growth_bytes = 32 << 20;
  options_.recycle.warm_up_calls = 1;
  options_.health.interval = milliseconds(20);
  Begin(1);
  const pid_t pid = PidOf(0);
  // The model, which is loaded with the first call, is no growth.
  ASSERT_TRUE(pool_->Execute("grow", Value::Map{{"bytes", 64 << 20}}));
  // The baseline is measured within two rounds. That it is kept is seen by its being measured on.
  const auto rounds = steady_clock::now() + 4 * options_.health.interval;
  ASSERT_TRUE(Await([rounds] { return steady_clock::now() > rounds; }));
  EXPECT_EQ(PidOf(0), pid);
  ASSERT_TRUE(pool_->Execute("grow", Value::Map{{"bytes", 64 << 20}}));
  EXPECT_TRUE(Await([this, pid] { return PidOf(0) != pid; }));
  EXPECT_EQ(pool_->Stats().recycled, 1);
}

TEST_P(OperationsTest, AWorkerIsRecycledByAgeAndWhenItHasBeenIdle) {
  for (const bool by_age : {true, false}) {
    SCOPED_TRACE(by_age);
    options_.recycle.max_age = milliseconds(by_age ? 300 : 0);
    options_.recycle.max_idle = milliseconds(by_age ? 0 : 100);
    pool_.reset();
    Begin(1);
    const pid_t pid = ServedBy();
    EXPECT_TRUE(Await([this, pid] { return PidOf(0) != pid; })) << log_.Text();
    EXPECT_GE(pool_->Stats().recycled, 1);
    ServedBy();
  }
}

TEST_P(OperationsTest, APoolGrowsAndShrinks) {
  Begin(1);
  EXPECT_EQ(pool_->Resize(0).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(pool_->Resize(1001).error().code, ErrorCode::kInvalidArgument);
  ASSERT_TRUE(pool_->Resize(3));
  EXPECT_EQ(pool_->Stats().workers, 3);
  ASSERT_TRUE(AwaitFullStrength()) << log_.Text();
  std::vector<pid_t> pids;
  for (const WorkerInfo& worker : pool_->Workers()) pids.push_back(worker.pid);
  std::promise<Result<Value>> ended[3];
  for (auto& promise : ended) {
    pool_->Submit("sleep", Value::Map{{"ms", 200}},
                  [&promise](Result<Value> result) { promise.set_value(std::move(result)); });
  }
  ASSERT_TRUE(pool_->Resize(1));
  for (auto& promise : ended) {
    auto result = promise.get_future().get();
    EXPECT_TRUE(result) << result.error().ToString();
  }
  ASSERT_TRUE(AwaitFullStrength()) << log_.Text();
  EXPECT_EQ(pool_->Workers().size(), 1u);
  EXPECT_EQ(PidOf(0), pids[0]);
  EXPECT_TRUE(testing::WaitUntilGone(pids[1]) && testing::WaitUntilGone(pids[2]));
  EXPECT_EQ(ServedBy(), pids[0]);
  pool_->Shutdown();
  EXPECT_EQ(pool_->Resize(2).error().code, ErrorCode::kUnavailable);
}

// --- Health ------------------------------------------------------------------------------------

TEST_P(OperationsTest, AStoppedWorkerIsFoundKilledAndReplacedIdleOrBusy) {
  options_.health.interval = milliseconds(50);
  options_.health.timeout = milliseconds(500);
  Begin(2);
  const pid_t idle = PidOf(1);
  kill(idle, SIGSTOP);
  EXPECT_TRUE(testing::WaitUntilGone(idle));
  ASSERT_TRUE(AwaitFullStrength()) << log_.Text();

  const auto start = steady_clock::now();
  CallInfo info;
  auto result = pool_->Execute("stop_yourself", {}, {.timeout = seconds(600), .info = &info});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
  EXPECT_NE(result.error().message.find("did not answer a health check within 500 ms"),
            std::string::npos)
      << result.error().message;
  EXPECT_LT(steady_clock::now() - start, kOperationsLimit) << "it was the call's deadline";
  EXPECT_FALSE(testing::IsAlive(info.worker_pid));
  ASSERT_TRUE(AwaitFullStrength()) << log_.Text();
  ServedBy();
}

// A launch that began to talk to the worker may outlive the process.
TEST_P(OperationsTest, AGuardianThatIsKilledWhileAWorkerStartsIsReplaced) {
  options_.restart.initial_backoff = milliseconds(1);
  Begin(2);
  Write("slow", "");
  kill(PidOf(0), SIGKILL);
  ASSERT_TRUE(log_.WaitFor("starts slowly")) << log_.Text();
  kill(testing::ParentOf(PidOf(1)), SIGKILL);
  ASSERT_TRUE(log_.WaitFor("the process that starts workers ended")) << log_.Text();
  Remove("slow");
  ASSERT_TRUE(AwaitFullStrength()) << log_.Text();
  ServedBy();
}

TEST_P(OperationsTest, AWorkerThatIsNotWellGetsNoCallsUntilItIs) {
  options_.health.interval = milliseconds(20);
  Begin(1);
  const pid_t pid = PidOf(0);
  Write("unwell", std::to_string(pid));
  ASSERT_TRUE(Await([this] { return pool_->Workers()[0].state == WorkerState::kUnready; }));
  EXPECT_EQ(pool_->Stats().usable_capacity, 0);
  EXPECT_EQ(pool_->Stats().wanted_capacity, 1);
  Remove("unwell");
  ServedBy();  // the same worker, or its successor if it was found unwell three times
}

TEST_P(OperationsTest, AWorkerThatStaysUnwellIsReplaced) {
  options_.health.interval = milliseconds(20);
  Begin(1);
  const pid_t pid = PidOf(0);
  Write("unwell", std::to_string(pid));
  ASSERT_TRUE(Await([this] { return pool_->Stats().recycled == 1; })) << log_.Text();
  EXPECT_NE(ServedBy(), pid);
  EXPECT_TRUE(testing::WaitUntilGone(pid));
}

TEST_P(OperationsTest, ACallThatIgnoresItsEndTakesNoOtherCallAlong) {
  capacity_ = 2;
  options_.cancel_grace = milliseconds(50);
  Begin(1);
  const pid_t pid = PidOf(0);
  std::promise<Result<Value>> other;
  pool_->Submit("sleep", Value::Map{{"ms", 1500}},
                [&other](Result<Value> result) { other.set_value(std::move(result)); });
  std::stop_source source;
  auto ignored =
      std::async([&] { return pool_->Execute("ignore", {}, {.stop = source.get_token()}); });
  ASSERT_TRUE(log_.WaitFor("ignores"));
  source.request_stop();
  EXPECT_EQ(ignored.get().error().code, ErrorCode::kCancelled);
  EXPECT_NE(ServedBy({.queue_timeout = kOperationsLimit}), pid)
      << "its successor does not wait for it";
  auto result = other.get_future().get();
  ASSERT_TRUE(result) << result.error().ToString() << "\n" << log_.Text();
  EXPECT_EQ(*result, Value(pid));
  EXPECT_TRUE(testing::WaitUntilGone(pid));
}

// Calls that it refuses have not run, and it gets no more.
TEST_P(OperationsTest, AWorkerThatIsAskedToEndByOthersGetsNoMoreCalls) {
  capacity_ = 2;
  Begin(1);
  const pid_t pid = PidOf(0);
  std::promise<Result<Value>> running;
  pool_->Submit("sleep", Value::Map{{"ms", 1000}},
                [&running](Result<Value> result) { running.set_value(std::move(result)); });
  ASSERT_TRUE(log_.WaitFor("sleeps")) << "an idle one may end at once";
  int refused = 0;
  ASSERT_TRUE(Await([&] {
    // Time and again: Python does not see a signal that comes just before it begins to wait.
    if (refused == 0) kill(pid, SIGTERM);
    CallInfo info;
    auto result = pool_->Execute("pid", {}, {.queue_timeout = kOperationsLimit, .info = &info});
    if (!result) {
      ++refused;
      EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
      EXPECT_FALSE(result.error().may_have_run) << result.error().ToString();
    }
    return result && info.worker_pid != pid;
  })) << log_.Text();
  EXPECT_EQ(refused, 1) << "by the first it was found to be ending";
  auto result = running.get_future().get();
  EXPECT_TRUE(result) << result.error().ToString() << "\n" << log_.Text();
  ASSERT_TRUE(AwaitFullStrength()) << log_.Text();
  EXPECT_TRUE(testing::WaitUntilGone(pid));
}

TEST(LegacyHealth, AStoppedIdleWorkerOnStdioIsFoundByAPing) {
  PoolOptions options;
  options.adapter = testing::LegacyStdioWorker("v2_bridge.py", {"--protocol", "auto"}, {});
  options.workers = 1;
  options.health.interval = milliseconds(50);
  options.health.timeout = milliseconds(500);
  testing::LogWatcher log;
  options.log = log.sink();
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  const pid_t pid = pool->Workers()[0].pid;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(pool->Execute("ping", {})) << i;
  EXPECT_EQ(pool->Workers()[0].pid, pid) << "checks get in nobody's way";
  kill(pid, SIGSTOP);
  EXPECT_TRUE(testing::WaitUntilGone(pid));
  auto result = pool->Execute("ping", {});
  EXPECT_TRUE(result) << result.error().ToString() << log.Text();
}

// --- The breaker -------------------------------------------------------------------------------

TEST_P(OperationsTest, ACrashLoopOpensTheBreakerWhichClosesWhenWorkersStartAgain) {
  options_.restart.initial_backoff = milliseconds(1);
  options_.restart.burst = 2;
  options_.restart.burst_window = seconds(60);
  options_.restart.breaker_cooldown = milliseconds(200);
  Begin(1);
  Write("broken", "");
  kill(PidOf(0), SIGKILL);
  ASSERT_TRUE(log_.WaitFor("workers are not started any more for now")) << log_.Text();
  const auto start = steady_clock::now();
  auto refused =
      pool_->Execute("pid", {}, {.timeout = seconds(600), .queue_timeout = kOperationsLimit});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable) << refused.error().ToString();
  EXPECT_NE(refused.error().message.find("the last start that failed: worker 0"), std::string::npos)
      << refused.error().message;
  EXPECT_LT(steady_clock::now() - start, kOperationsLimit) << "it hung";
  EXPECT_NE(pool_->Stats().breaker, BreakerState::kClosed);
  EXPECT_GE(pool_->Stats().breaker_opened, 1);
  EXPECT_GE(pool_->Stats().boot_failures, 2);
  EXPECT_EQ(pool_->Restart().error().code, ErrorCode::kUnavailable);
  ASSERT_TRUE(Await([this] { return pool_->Stats().breaker_opened >= 2; })) << "a probe failed";

  Remove("broken");
  ASSERT_TRUE(Await([this] { return pool_->Stats().workers_ready == 1; })) << log_.Text();
  ServedBy();
  EXPECT_EQ(pool_->Stats().breaker, BreakerState::kClosed);
  ASSERT_TRUE(log_.WaitFor("the breaker is closed"));
}

// --- The queue ---------------------------------------------------------------------------------

TEST_P(OperationsTest, ARefusalSaysHowFullTheQueueIsAndWhatTheWorkersDo) {
  options_.queue.max_calls = 1;
  options_.queue.max_bytes = 10'000;
  options_.name = "models";
  Begin(1);
  const auto submit = [this](std::promise<Result<Value>>& ended) {
    pool_->Submit("sleep", Value::Map{{"ms", 1000}},
                  [&ended](Result<Value> result) { ended.set_value(std::move(result)); });
  };
  std::promise<Result<Value>> running, queued;
  submit(running);
  auto too_large = pool_->Execute("pid", Value::Map{{"data", std::string(20'000, 'x')}});
  ASSERT_FALSE(too_large);
  EXPECT_EQ(too_large.error().code, ErrorCode::kQueueFull) << too_large.error().ToString();
  submit(queued);
  ASSERT_TRUE(Await([this] { return pool_->Stats().oldest_queued > milliseconds(1); }));
  EXPECT_GT(pool_->Stats().bytes_queued, 0u);
  auto refused = pool_->Execute("pid", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kQueueFull);
  const std::string& text = refused.error().message;
  for (const char* part :
       {"pool models: ", "1 of 1 calls queued", "of 10000 bytes", "the oldest for ",
        "the workers are 1 ready (1 in flight, capacity 1)"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  EXPECT_TRUE(running.get_future().get());
  EXPECT_TRUE(queued.get_future().get());
}

}  // namespace
}  // namespace snakepit
