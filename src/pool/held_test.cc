// Processes that do not end, or do not answer, though they are to: whatever a debugger, the kernel
// or a stopped guardian does, calls and Shutdown have their time limits, and the log says why.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "snakepit/pool.h"
#include "src/testing/debugger.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::Debugger;

constexpr char kWorker[] = R"(
import ctypes, os, time
from snakepit_bridge import Worker

ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER, by anybody
worker = Worker("held")

@worker.command("die")
def die():
    os._exit(3)

@worker.command("hang")
def hang():
    while True:
        time.sleep(1)

if __name__ == "__main__":
    worker.main()
)";

class HeldTest : public ::testing::TestWithParam<const char*> {
 protected:
  void Begin() {
    options_.workers = 1;
    options_.adapter = testing::PythonWorker(kWorker, GetParam());
    options_.log = log_.sink();
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
  }

  pid_t WorkerPid() const { return pool_->Workers()[0].pid; }

  testing::LogWatcher log_;
  PoolOptions options_;
  std::optional<Pool> pool_;
};

INSTANTIATE_TEST_SUITE_P(Transports, HeldTest, ::testing::Values("StdioMsgpack", "Grpc"));

TEST_P(HeldTest, ALostCallDoesNotWaitForADebugger) {
  Begin();
  const Debugger debugger(WorkerPid(), Debugger::Holds::kItsExit);
  ASSERT_TRUE(debugger.holds());
  const auto begin = steady_clock::now();
  const auto result = pool_->Execute("die", {}, {.timeout = milliseconds(1000)});
  EXPECT_LT(steady_clock::now() - begin, seconds(10));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
  EXPECT_FALSE(result.error().exit);
  EXPECT_NE(result.error().message.find("how its process ends was not known in time"),
            std::string::npos)
      << result.error().message;

  // The pool goes on without the process.
  const auto ping = pool_->Execute("ping", {}, {.queue_timeout = seconds(60)});
  ASSERT_TRUE(ping) << ping.error().ToString();
  EXPECT_TRUE(log_.WaitFor("and has not ended: a debugger or the kernel may hold it"));
}

TEST_P(HeldTest, ShutdownDoesNotWaitForADebugger) {
  Begin();
  const Debugger debugger(WorkerPid(), Debugger::Holds::kItsExit);
  ASSERT_TRUE(debugger.holds());
  kill(WorkerPid(), SIGSTOP);
  const auto begin = steady_clock::now();
  pool_->Shutdown();
  EXPECT_LT(steady_clock::now() - begin, seconds(20) + 2 * options_.stop_grace);
}

TEST_P(HeldTest, AStoppedGuardianHoldsUpNoCall) {
  Begin();
  kill(testing::ParentOf(WorkerPid()), SIGSTOP);
  const auto begin = steady_clock::now();
  const auto result = pool_->Execute("die", {}, {.timeout = milliseconds(1000)});
  EXPECT_LT(steady_clock::now() - begin, seconds(10));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
  const auto ping = pool_->Execute("ping", {}, {.queue_timeout = seconds(60)});
  EXPECT_TRUE(ping) << ping.error().ToString();
}

TEST_P(HeldTest, AKillForAnOverrunIsExplained) {
  options_.cancel_grace = milliseconds(100);
  Begin();
  const auto result = pool_->Execute("hang", {}, {.timeout = milliseconds(100)});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kDeadlineExceeded) << result.error().ToString();
  EXPECT_TRUE(log_.WaitFor("is killed: it went on for over 100 ms with a call that was given up"));
  EXPECT_TRUE(log_.WaitFor("ended by signal 9 (Killed), as it went on for over 100 ms"));
}

TEST_P(HeldTest, AKillForAHealthCheckIsExplained) {
  options_.health.interval = options_.health.timeout = milliseconds(200);
  Begin();
  kill(WorkerPid(), SIGSTOP);
  EXPECT_TRUE(log_.WaitFor("is killed: it did not answer a health check within 200 ms"));
  EXPECT_TRUE(log_.WaitFor("ended by signal 9 (Killed), as it did not answer a health check"));
}

TEST_P(HeldTest, AKillAtTheEndOfThePoolIsExplained) {
  options_.stop_grace = milliseconds(100);
  Begin();
  kill(WorkerPid(), SIGSTOP);
  pool_->Shutdown();
  EXPECT_TRUE(log_.WaitFor("is killed: it did not end within 100 ms after it was asked to"));
}

TEST_P(HeldTest, AKillBySomebodyElseIsSaidToBe) {
  Begin();
  const pid_t guardian = testing::ParentOf(WorkerPid());
  kill(WorkerPid(), SIGKILL);
  EXPECT_TRUE(log_.WaitFor("ended by signal 9 (Killed); the pool did not send it"));
  ASSERT_TRUE(log_.WaitFor(" is ready after", 2));  // once more
  ASSERT_GT(guardian, 1);
  kill(guardian, SIGKILL);
  EXPECT_TRUE(log_.WaitFor("signal 9 (Killed), as the process that starts workers ended"));
}

TEST_P(HeldTest, ARecyclingIsExplained) {
  options_.recycle.max_calls = 1;
  Begin();
  ASSERT_TRUE(pool_->Execute("ping", {}));
  EXPECT_TRUE(log_.WaitFor("is replaced: it has had as many calls as recycle.max_calls allows"));
}

}  // namespace
}  // namespace snakepit
