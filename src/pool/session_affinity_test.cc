// Sessions and the workers that hold their state, the same on both transports; and several pools.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <string>

#include "snakepit/pool.h"
#include "src/pool/testing/operations_fixture.h"
#include "src/process/proc_figures.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::Await;
using testing::kOperationsLimit;
using testing::OperationsTest;

// --- Sessions ----------------------------------------------------------------------------------

TEST_P(OperationsTest, StrictQueueWaitsForTheSessionsWorkerThoughOthersAreFree) {
  options_.sessions.affinity = Affinity::kStrictQueue;
  Begin(2);
  CallInfo first;
  ASSERT_TRUE(pool_->Execute("count", {}, {.session = "s", .info = &first}));
  auto running = std::async([this] {
    return pool_->Execute("sleep", Value::Map{{"ms", 300}}, {.session = "s"});
  });
  ASSERT_TRUE(Await([this] { return pool_->Stats().calls_in_flight == 1; }));
  CallInfo second;
  auto count = pool_->Execute("count", {}, {.session = "s", .info = &second});
  ASSERT_TRUE(count) << count.error().ToString();
  EXPECT_EQ(*count, Value(2));
  EXPECT_EQ(second.worker_pid, first.worker_pid);
  EXPECT_TRUE(running.get());
}

TEST_P(OperationsTest, StrictFailFastSaysAtOnceThatTheSessionsWorkerIsBusy) {
  options_.sessions.affinity = Affinity::kStrictFailFast;
  Begin(2);
  ASSERT_TRUE(pool_->Execute("count", {}, {.session = "s"}));
  auto running = std::async([this] {
    return pool_->Execute("sleep", Value::Map{{"ms", 300}}, {.session = "s"});
  });
  ASSERT_TRUE(Await([this] { return pool_->Stats().calls_in_flight == 1; }));
  auto busy = pool_->Execute("count", {}, {.session = "s"});
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().code, ErrorCode::kSessionBusy) << busy.error().ToString();
  EXPECT_FALSE(busy.error().may_have_run);
  EXPECT_TRUE(running.get());
  EXPECT_EQ(*pool_->Execute("count", {}, {.session = "s"}), Value(2));
}

TEST_P(OperationsTest, ALostSessionFailsInTheStrictModesAndMovesInHint) {
  for (Affinity affinity : {Affinity::kHint, Affinity::kStrictQueue, Affinity::kStrictFailFast}) {
    SCOPED_TRACE(AffinityName(affinity));
    options_.sessions.affinity = affinity;
    pool_.reset();
    Begin(2);
    CallInfo first;
    ASSERT_TRUE(pool_->Execute("count", {}, {.session = "s", .info = &first}));
    EXPECT_FALSE(first.session_moved);
    kill(first.worker_pid, SIGKILL);
    ASSERT_TRUE(Await([this] { return pool_->Stats().crashes == 1; }));
    CallInfo second;
    const auto start = steady_clock::now();
    auto result = pool_->Execute("count", {}, {.session = "s", .info = &second});
    EXPECT_LT(steady_clock::now() - start, kOperationsLimit);
    if (affinity == Affinity::kHint) {
      ASSERT_TRUE(result) << result.error().ToString();
      EXPECT_EQ(*result, Value(1)) << "begun anew";
      EXPECT_TRUE(second.session_moved);
      EXPECT_NE(second.worker_pid, first.worker_pid);
      continue;
    }
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kSessionLost) << result.error().ToString();
    EXPECT_FALSE(result.error().may_have_run);
    pool_->EndSession("s");
    result = pool_->Execute("count", {}, {.session = "s"});
    ASSERT_TRUE(result) << result.error().ToString();
    EXPECT_EQ(*result, Value(1));
  }
}

TEST(Sessions, AHundredThousandLeaveTheMemoryFlat) {
  PoolOptions options;
  options.adapter = testing::FixtureOfKind(testing::FixtureKind::kCppMsgpack);
  options.workers = 2;
  options.sessions.max_count = 1'000;
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  const auto use = [&pool](int from, int to) {
    for (int i = from; i < to; ++i) {
      ASSERT_TRUE(pool->Execute("echo", {}, {.session = "session " + std::to_string(i)}));
    }
  };
  const auto rss_bytes = [&pool] {
    int64_t sum = ReadProcFigures(getpid())->rss_bytes;
    for (const WorkerInfo& worker : pool->Workers()) sum += worker.rss_bytes;
    return sum;
  };
  use(0, 10'000);
  const int64_t before = rss_bytes();
  use(10'000, 100'000);
  EXPECT_EQ(pool->Stats().sessions, 1'000u);
  // 90,000 sessions at the least that a session could take would be over it.
  EXPECT_LT(rss_bytes() - before, 4 << 20);
}

// --- Several pools -----------------------------------------------------------------------------

TEST_P(OperationsTest, SeveralNamedPoolsInOneProcessDoNotTouchEachOther) {
  options_.name = "first";
  options_.restart.initial_backoff = milliseconds(1);
  options_.restart.burst = 1;
  Begin(1);
  testing::LogWatcher log;
  PoolOptions options;
  options.name = "second";
  options.workers = 2;
  options.adapter = testing::FixtureOfKind(testing::FixtureKind::kCppGrpc);
  options.log = log.sink();
  auto second = Pool::Start(options);
  ASSERT_TRUE(second) << second.error().ToString();

  Write("broken", "");
  kill(PidOf(0), SIGKILL);
  ASSERT_TRUE(log_.WaitFor("pool first: workers are not started any more")) << log_.Text();
  auto refused = pool_->Execute("pid", {});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().message.starts_with("pool first: ")) << refused.error().message;
  EXPECT_TRUE(second->Execute("pid", {}));
  pool_.reset();
  EXPECT_TRUE(second->Execute("pid", {})) << "the end of one is not the end of the other";
  ASSERT_TRUE(log.WaitFor("pool second: worker 1")) << log.Text();
}

}  // namespace
}  // namespace snakepit
