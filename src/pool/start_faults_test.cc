// Workers that do not start, and pools that leave nothing behind.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <future>
#include <iterator>

#include "snakepit/pool.h"
#include "src/base/testing/temp_folder.h"
#include "src/pool/testing/start_pool.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::InlineStdioWorker;
using testing::MisbehavingWorker;
using testing::StartPool;

// --- Faults of a start --------------------------------------------------------------------------

struct StartFault {
  std::string name;
  Adapter (*adapter)();
  ErrorCode code;
  std::string says;         // text in the message
  std::string stderr_says;  // text in the tail of its stderr
};

Adapter OfProgram(std::vector<std::string> argv) {
  Adapter adapter;
  adapter.argv = std::move(argv);
  return adapter;
}

Adapter GrpcOf(Adapter adapter) {
  adapter.transport = GrpcTransport{};
  return adapter;
}

Adapter WithStartTimeout(Adapter adapter, milliseconds timeout) {
  adapter.start_timeout = timeout;
  return adapter;
}

class StartFaultTest : public ::testing::TestWithParam<StartFault> {};

INSTANTIATE_TEST_SUITE_P(
    Faults, StartFaultTest,
    ::testing::Values(
        StartFault{"Missing", [] { return OfProgram({"/no/such/worker"}); },
                   ErrorCode::kStartFailed, "ENOENT", ""},
        StartFault{"MissingGrpc",
                   [] {
                     return GrpcOf(OfProgram({"no-such-worker", "{socket}"}));
                   },
                   ErrorCode::kStartFailed, "ENOENT", ""},
        StartFault{"NotExecutable", [] { return OfProgram({"/etc/passwd"}); },
                   ErrorCode::kStartFailed, "EACCES", ""},
        // Breakage 8.
        StartFault{"MissingScript",
                   [] {
                     return OfProgram({"/usr/bin/python3", "/no/such/script.py"});
                   },
                   ErrorCode::kStartFailed, "exit code 2", "/no/such/script.py"},
        StartFault{"MissingScriptGrpc",
                   [] {
                     return GrpcOf(OfProgram({"/usr/bin/python3", "/no/such/script.py", "{port}"}));
                   },
                   ErrorCode::kStartFailed, "exit code 2", "/no/such/script.py"},
        StartFault{"ExitsAtOnce", [] { return MisbehavingWorker("exits-at-once"); },
                   ErrorCode::kStartFailed, "exit code 3", "no such model"},
        StartFault{"PrintsBeforeReady", [] { return MisbehavingWorker("prints-before-ready"); },
                   ErrorCode::kProtocolError, "hello", ""},
        StartFault{"HangsInStartUp",
                   [] {
                     return WithStartTimeout(MisbehavingWorker("hangs-in-start-up"),
                                             milliseconds(500));
                   },
                   ErrorCode::kStartTimeout, "500 ms: ", ""},
        StartFault{"HangsInStartUpGrpc",
                   [] {
                     Adapter adapter = GrpcOf(MisbehavingWorker("hangs-in-start-up"));
                     return WithStartTimeout(std::move(adapter), milliseconds(500));
                   },
                   ErrorCode::kStartTimeout, "500 ms: ", ""},
        StartFault{"NoProtocolAtAll",
                   [] {
                     return OfProgram({"/bin/echo", "hello world"});
                   },
                   ErrorCode::kProtocolError, "hello world", ""}),
    [](const auto& info) { return info.param.name; });

TEST_P(StartFaultTest, SaysWhyAtOnceAndLeavesNothing) {
  const StartFault& fault = GetParam();
  const auto start = steady_clock::now();
  auto pool = StartPool(fault.adapter(), 2);
  ASSERT_FALSE(pool);
  // Breakage 8: well before any time limit but its own.
  EXPECT_LT(steady_clock::now() - start, seconds(10));
  EXPECT_EQ(pool.error().code, fault.code) << pool.error().ToString();
  EXPECT_NE(pool.error().message.find(fault.says), std::string::npos) << pool.error().message;
  EXPECT_NE(pool.error().stderr_tail.find(fault.stderr_says), std::string::npos)
      << pool.error().stderr_tail;
}

// It would be restarted while the others are waited for, time and again.
TEST(Start, AWorkerThatEndsBeforeTheOthersAreReadyFailsTheStart) {
  Adapter adapter = InlineStdioWorker(R"(
if os.environ["SNAKEPIT_WORKER_ID"] == "worker_1":
    sys.stdin.read()
take(size())
reply(1, {"status": "ok"})
sys.exit(7)
)");
  auto pool = StartPool(WithStartTimeout(std::move(adapter), seconds(20)), 2);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().code, ErrorCode::kStartFailed) << pool.error().ToString();
  EXPECT_EQ(pool.error().exit->code, 7);
}

int OpenDescriptors() {
  const std::filesystem::directory_iterator open("/proc/self/fd");
  return static_cast<int>(std::distance(begin(open), end(open)));
}

TEST(Start, WhoeverRunsOutOfDescriptorsGetsAnErrorAndLosesNone) {
  const int before = OpenDescriptors();
  const int lowest_free = dup(0);
  close(lowest_free);
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  bool started = false;
  for (int spare = 0; !started && spare < 100; ++spare) {
    const rlimit scarce{.rlim_cur = static_cast<rlim_t>(lowest_free + spare),
                        .rlim_max = usual.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &scarce), 0);
    auto pool = StartPool(MisbehavingWorker("none"), 2);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
    started = pool.has_value();
    if (started) continue;
    EXPECT_TRUE(pool.error().code == ErrorCode::kInternal ||
                pool.error().code == ErrorCode::kStartFailed)
        << pool.error().ToString();
    EXPECT_EQ(OpenDescriptors(), before) << pool.error().ToString();
  }
  EXPECT_TRUE(started) << "with 100 descriptors";
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(Start, BadOptionsAreRefusedByName) {
  const auto message = [](PoolOptions options) {
    auto pool = Pool::Start(std::move(options));
    EXPECT_FALSE(pool);
    EXPECT_EQ(pool.error().code, ErrorCode::kInvalidArgument);
    return pool.error().message;
  };
  PoolOptions options;
  EXPECT_NE(message(options).find("adapter.argv"), std::string::npos);
  options.adapter.argv = {"worker"};
  for (const char* name : {"", "A=b", "A*B", "SNAKEPIT_TOKEN"}) {
    options.adapter.inherit = {name};
    EXPECT_NE(message(options).find("adapter.inherit"), std::string::npos) << name;
  }
  options.adapter.inherit = {"A", "B*", "*"};
  options.workers = -1;
  EXPECT_NE(message(options).find("workers"), std::string::npos);
  options.workers = 1;
  options.queue.timeout = milliseconds::max();
  EXPECT_NE(message(options).find("queue.timeout"), std::string::npos);
  options.queue.timeout = seconds(1);
  options.cancel_grace = milliseconds(-1);
  EXPECT_NE(message(options).find("cancel_grace"), std::string::npos);
  options.cancel_grace = seconds(1);
  options.adapter.transport = StdioTransport{.codecs = {}};
  EXPECT_NE(message(options).find("codecs"), std::string::npos);
  options.adapter.transport = GrpcTransport{.max_message_bytes = 1};
  EXPECT_NE(message(options).find("max_message_bytes"), std::string::npos);
}

// --- Nothing is left behind ---------------------------------------------------------------------

TEST(Shutdown, WhatIsSubmittedAfterwardsIsRefusedByItsCallback) {
  auto pool = StartPool(MisbehavingWorker("none"));
  ASSERT_TRUE(pool) << pool.error().ToString();
  pool->Shutdown();
  std::promise<Result<Value>> ended;
  auto outcome = ended.get_future();
  pool->Submit("ping", {}, [&ended](Result<Value> result) { ended.set_value(result); });
  ASSERT_EQ(outcome.wait_for(seconds(10)), std::future_status::ready);
  EXPECT_EQ(outcome.get().error().code, ErrorCode::kUnavailable);
}

TEST(Shutdown, AWorkerThatIgnoresEverythingIsKilled) {
  PoolOptions options;
  options.adapter = MisbehavingWorker("ignores-sigterm");
  options.workers = 1;
  options.stop_grace = milliseconds(100);
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  const pid_t pid = pool->Workers()[0].pid;
  pool->Shutdown();
  EXPECT_FALSE(testing::IsAlive(pid));
}

TEST(Shutdown, TheChildrenOfAWorkerGoWithIt) {
  auto pool = StartPool(MisbehavingWorker("grandchild"));
  ASSERT_TRUE(pool) << pool.error().ToString();
  auto result = pool->Execute("fault", {});
  ASSERT_FALSE(result);
  int grandchild = 0;
  ASSERT_EQ(std::sscanf(result.error().stderr_tail.c_str(), "grandchild %d", &grandchild), 1)
      << result.error().stderr_tail;
  EXPECT_TRUE(testing::WaitUntilGone(grandchild));
}

TEST(Shutdown, AGuardianThatDoesNotAnswerIsGivenUp) {
  PoolOptions options;
  options.adapter = MisbehavingWorker("none");
  options.workers = 2;
  options.stop_grace = milliseconds(100);
  auto pool = Pool::Start(options);
  ASSERT_TRUE(pool) << pool.error().ToString();
  const pid_t worker = pool->Workers()[0].pid;
  const pid_t guardian = testing::ParentOf(worker);
  kill(guardian, SIGSTOP);
  pool->Shutdown();
  EXPECT_TRUE(testing::WaitUntilGone(worker));
  EXPECT_TRUE(testing::WaitUntilGone(guardian));
}

// Breakage 9: the pool's own process is killed while its workers are busy.
TEST(Shutdown, NoWorkerOutlivesAPoolThatIsKilled) {
  for (const char* transport : {"stdio", "grpc"}) {
    SCOPED_TRACE(transport);
    const testing::TempFolder runtime("start_faults_test");
    int out[2];
    ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
    const pid_t pool = fork();
    if (pool == 0) {
      dup2(out[1], 1);
      setenv("XDG_RUNTIME_DIR", runtime.path().c_str(), 1);
      execl("src/testing/busy_pool", "busy_pool", transport, nullptr);
      _exit(127);
    }
    close(out[1]);
    FILE* lines = fdopen(out[0], "r");
    std::vector<pid_t> workers;
    pid_t pid = 0;
    while (workers.size() < 2 && std::fscanf(lines, " busy %d", &pid) == 1) {
      workers.push_back(pid);
    }
    ASSERT_EQ(workers.size(), 2u);
    const pid_t guardian = testing::ParentOf(workers[0]);
    kill(pool, SIGKILL);
    int status = 0;
    waitpid(pool, &status, 0);
    std::fclose(lines);
    for (pid_t worker : workers) EXPECT_TRUE(testing::WaitUntilGone(worker)) << worker;
    EXPECT_TRUE(testing::WaitUntilGone(guardian));
    EXPECT_TRUE(std::filesystem::is_empty(runtime.path())) << "its sockets' folder is left";
  }
}

}  // namespace
}  // namespace snakepit
