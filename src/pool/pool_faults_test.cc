// Workers that misbehave: each fault ends in a named error, and the pool serves on.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <future>
#include <sstream>
#include <stop_token>
#include <thread>

#include "snakepit/pool.h"
#include "src/base/testing/await.h"
#include "src/base/testing/temp_folder.h"
#include "src/pool/testing/start_pool.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::InlineStdioWorker;
using testing::LegacyStdioWorker;
using testing::MisbehavingWorker;
using testing::StartPool;

// --- Workers in the field, unchanged --------------------------------------------------------

struct FieldWorker {
  std::string name;
  std::string script;
  std::vector<std::string> arguments;
  StdioTransport transport;
};

class FieldWorkerTest : public ::testing::TestWithParam<FieldWorker> {};

INSTANTIATE_TEST_SUITE_P(
    Workers, FieldWorkerTest,
    ::testing::Values(
        FieldWorker{"V1Negotiated", "v1_bridge.py", {}, {}},
        FieldWorker{"V1Fixed", "v1_bridge.py", {}, {.codecs = {Codec::kJson}, .negotiate = false}},
        FieldWorker{"V2AutoMsgpack", "v2_bridge.py", {"--protocol", "auto"}, {}},
        FieldWorker{
            "V2AutoJson", "v2_bridge.py", {"--protocol", "auto"}, {.codecs = {Codec::kJson}}},
        FieldWorker{"V2JsonNegotiated", "v2_bridge.py", {"--protocol", "json"}, {}},
        FieldWorker{"V2MsgpackNegotiated", "v2_bridge.py", {"--protocol", "msgpack"}, {}},
        FieldWorker{"V2MsgpackFixed",
                    "v2_bridge.py",
                    {"--protocol", "msgpack"},
                    {.codecs = {Codec::kMessagePack}, .negotiate = false}},
        FieldWorker{"JsNegotiated", "js_bridge.py", {}, {}},
        FieldWorker{"JsFixed", "js_bridge.py", {}, {.codecs = {Codec::kJson}, .negotiate = false}}),
    [](const auto& info) { return info.param.name; });

TEST_P(FieldWorkerTest, RunsUnchanged) {
  const FieldWorker& worker = GetParam();
  auto pool = StartPool(LegacyStdioWorker(worker.script, worker.arguments, worker.transport), 2);
  ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
  const Value args = Value::Map{{"text", "ü"}, {"n", 7}};
  auto echoed = pool->Execute("echo", args);
  ASSERT_TRUE(echoed) << echoed.error().ToString();
  EXPECT_EQ(*echoed->Find("echoed"), args);

  auto unknown = pool->Execute("no_such_command", {});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kUnimplemented) << unknown.error().ToString();
  auto failed = pool->Execute("compute", Value::Map{{"operation", "divide"}, {"a", 1}, {"b", 0}});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kHandlerFailed) << failed.error().ToString();

  std::vector<Chunk> chunks;
  auto count = pool->ExecuteStream("ping", {}, [&chunks](const Chunk& chunk) {
    chunks.push_back(chunk);
    return true;
  });
  ASSERT_TRUE(count) << count.error().ToString();
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_TRUE(chunks[0].final);
  EXPECT_EQ(pool->Stats().restarts, 0);
}

// Breakage 4 of pools in the field: a request that reaches a worker before its negotiation is
// swallowed.
TEST(FieldWorkers, NoRequestIsSwallowedAfterARestart) {
  testing::LogWatcher log;
  auto pool = StartPool(LegacyStdioWorker("v2_bridge.py", {"--protocol", "auto"}, {}), 1, &log);
  ASSERT_TRUE(pool) << pool.error().ToString();
  for (int round = 0; round < 10; ++round) {
    kill(pool->Workers()[0].pid, SIGKILL);
    // Either the worker still had the call, or its replacement gets it.
    auto result = pool->Execute("ping", {});
    if (!result) {
      EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
    }
    result = pool->Execute("ping", {});
    ASSERT_TRUE(result) << result.error().ToString() << "\n" << log.Text();
  }
}

class GrpcReadinessTest : public ::testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Ways, GrpcReadinessTest,
                         ::testing::Values("none", "line", "old-line", "early-line", "file"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(GrpcReadinessTest, AGrpcWorkerIsReadyHoweverItSaysSo) {
  auto pool = StartPool(testing::LegacyGrpcWorker({"--ready", GetParam()}), 2);
  ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
  EXPECT_TRUE(pool->Execute("ping", {}));
}

// --- Faults of a call ---------------------------------------------------------------------------

struct Fault {
  std::string name;
  ErrorCode code;
  std::string says;  // text in the message
};

class FaultTest : public ::testing::TestWithParam<Fault> {};

INSTANTIATE_TEST_SUITE_P(
    Faults, FaultTest,
    ::testing::Values(Fault{"prints-in-handler", ErrorCode::kProtocolError, "hello"},
                      Fault{"garbage", ErrorCode::kProtocolError, ""},
                      Fault{"claims-2gib", ErrorCode::kProtocolError, "2147483647"},
                      Fault{"zero-length-frame", ErrorCode::kProtocolError, ""},
                      Fault{"bad-json", ErrorCode::kProtocolError, "success"},
                      Fault{"reply-without-id", ErrorCode::kProtocolError, "without an id"},
                      Fault{"wrong-id", ErrorCode::kProtocolError, "which was not made"},
                      Fault{"success-without-result", ErrorCode::kProtocolError, "result"},
                      Fault{"infinity", ErrorCode::kProtocolError, "Infinity"},
                      Fault{"half-a-frame", ErrorCode::kWorkerLost, "in the middle of"},
                      Fault{"closes-stdout", ErrorCode::kWorkerLost, "closed its connection"},
                      Fault{"exits-mid-request", ErrorCode::kWorkerLost, "exit code 7"},
                      Fault{"killed-mid-request", ErrorCode::kWorkerLost, "signal 11"},
                      Fault{"silent", ErrorCode::kDeadlineExceeded, "deadline"},
                      Fault{"grandchild", ErrorCode::kWorkerLost, "exit code 7"}),
    [](const auto& info) {
      std::string name = info.param.name;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST_P(FaultTest, EndsInANamedErrorWithinTheDeadlineAndThePoolServesOn) {
  const Fault& fault = GetParam();
  auto pool = StartPool(MisbehavingWorker(fault.name));
  ASSERT_TRUE(pool) << pool.error().ToString();
  const bool waits = fault.code == ErrorCode::kDeadlineExceeded;
  const auto timeout = waits ? milliseconds(200) : milliseconds(20'000);
  const auto start = steady_clock::now();
  auto result = pool->Execute("fault", {}, {.timeout = timeout});
  ASSERT_FALSE(result) << result->ToJson();
  if (!waits) {
    EXPECT_LT(steady_clock::now() - start, timeout / 2) << "it waited for the deadline";
  }
  EXPECT_EQ(result.error().code, fault.code) << result.error().ToString();
  EXPECT_NE(result.error().message.find(fault.says), std::string::npos) << result.error().message;
  EXPECT_TRUE(result.error().may_have_run);
  auto after = pool->Execute("ping", {});
  EXPECT_TRUE(after) << after.error().ToString();
}

TEST(Faults, TheSameEndsASubmittedCall) {
  auto pool = StartPool(MisbehavingWorker("half-a-frame"));
  ASSERT_TRUE(pool) << pool.error().ToString();
  std::promise<Result<Value>> ended;
  pool->Submit("fault", {}, [&ended](Result<Value> result) { ended.set_value(result); });
  auto result = ended.get_future().get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost);
  EXPECT_NE(result.error().message.find("in the middle of"), std::string::npos)
      << result.error().message;
}

TEST(Faults, AFloodOfStderrBlocksNobody) {
  auto pool = StartPool(MisbehavingWorker("stderr-flood"));
  ASSERT_TRUE(pool) << pool.error().ToString();
  auto result = pool->Execute("fault", {});
  EXPECT_TRUE(result) << result.error().ToString();
}

// Breakage 1.
TEST(Faults, ACallThatTimedOutInTheQueueIsNeverExecuted) {
  const testing::TempFolder folder;
  const std::string fifo = folder.path() / "fifo", record = folder.path() / "record";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  auto pool = StartPool(MisbehavingWorker("late-reply", {"--until", fifo, "--record", record}));
  ASSERT_TRUE(pool) << pool.error().ToString();
  std::promise<Result<Value>> first;
  pool->Submit("fault", {}, [&first](Result<Value> result) { first.set_value(result); });
  auto queued = pool->Execute("echo", {}, {.queue_timeout = milliseconds(20)});
  ASSERT_FALSE(queued);
  EXPECT_EQ(queued.error().code, ErrorCode::kQueueTimeout);
  close(open(fifo.c_str(), O_WRONLY));  // the worker replies now
  EXPECT_TRUE(first.get_future().get());
  EXPECT_TRUE(pool->Execute("ping", {}));

  std::ifstream file(record);
  std::stringstream commands;
  std::string pid, command, id;
  while (file >> pid >> command >> id) commands << command << " ";
  EXPECT_EQ(commands.str(), "ping fault ping ") << "the first ping is the start's";
}

// Breakage 3: a worker is not listed as free while it is busy with a call that was given up. Which
// it may be until its grace is over. PROTOCOL.md 6.6.6.
TEST(Faults, AWorkerThatAnswersLateIsKeptAndItsLateReplyDropped) {
  const testing::TempFolder folder;
  const std::string fifo = folder.path() / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  PoolOptions options;
  options.adapter = MisbehavingWorker("late-reply", {"--until", fifo});
  options.workers = 1;
  options.cancel_grace = seconds(60);
  auto pool = Pool::Start(std::move(options));
  ASSERT_TRUE(pool) << pool.error().ToString();
  const pid_t pid = pool->Workers()[0].pid;
  auto late = pool->Execute("fault", {}, {.timeout = milliseconds(50)});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kDeadlineExceeded) << late.error().ToString();
  EXPECT_EQ(pool->Workers()[0].calls_in_flight, 1);
  auto queued = pool->Execute("ping", {}, {.queue_timeout = milliseconds(50)});
  ASSERT_FALSE(queued);
  EXPECT_EQ(queued.error().code, ErrorCode::kQueueTimeout);

  close(open(fifo.c_str(), O_WRONLY));  // the worker replies now
  auto after = pool->Execute("ping", {});
  ASSERT_TRUE(after) << after.error().ToString();
  EXPECT_EQ(after->TextAt("survived"), "") << "the late reply";
  EXPECT_EQ(pool->Workers()[0].pid, pid);
}

TEST(Faults, AWorkerThatStaysSilentBeyondItsGraceIsReplaced) {
  auto pool = StartPool(MisbehavingWorker("silent"));
  ASSERT_TRUE(pool) << pool.error().ToString();
  const pid_t pid = pool->Workers()[0].pid;
  std::stop_source source;
  std::promise<Result<Value>> ended;
  pool->Submit("fault", {}, [&ended](Result<Value> result) { ended.set_value(result); },
               {.stop = source.get_token()});
  source.request_stop();
  auto result = ended.get_future().get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled) << result.error().ToString();
  ASSERT_FALSE(pool->Execute("fault", {}, {.timeout = milliseconds(50)}));
  auto after = pool->Execute("ping", {});
  EXPECT_TRUE(after) << after.error().ToString();
  EXPECT_NE(pool->Workers()[0].pid, pid);
}

TEST(Faults, AReplyBeforeTheWholeRequestIsReadHoldsNobodyUp) {
  auto pool = StartPool(InlineStdioWorker(R"(
take(size())
reply(1, {"status": "ok"})
rest = size()
reply(2, {"text": "x" * 2_000_000})
take(rest)
take(size())
reply(3, {"status": "ok"})
)"));
  ASSERT_TRUE(pool) << pool.error().ToString();
  std::promise<Result<Value>> ended;
  pool->Submit("echo", Value::Map{{"text", std::string(2'000'000, 'x')}},
               [&ended](Result<Value> result) { ended.set_value(std::move(result)); });
  const Result<Value> result = ended.get_future().get();
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(result->TextAt("text").size(), 2'000'000u);
  auto after = pool->Execute("ping", {});
  EXPECT_TRUE(after) << after.error().ToString();
}

// It cancels them, as a handler may do by itself; but then the connection ends. PROTOCOL.md 1.4.7.
TEST(Faults, AGrpcServerThatStopsIsLostWithItsCalls) {
  Adapter adapter;
  adapter.argv = {"/usr/bin/python3", "-c", R"(
import concurrent.futures, grpc, sys, threading
def method(handler):
    return grpc.unary_unary_rpc_method_handler(handler)
def stop(request, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    server.stop(None)
    ended.wait()
server = grpc.server(concurrent.futures.ThreadPoolExecutor())
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
    "snakepit.SnakepitBridge",
    {"Health": method(lambda request, context: b"\x08\x01"), "Execute": method(stop)},
),))
server.add_insecure_port("unix:" + sys.argv[1])
server.start()
server.wait_for_termination()
)",
                  "{socket}"};
  adapter.transport = GrpcTransport{};
  auto pool = StartPool(std::move(adapter));
  ASSERT_TRUE(pool) << pool.error().ToString() << pool.error().stderr_tail;
  auto result = pool->Execute("echo", {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
  EXPECT_TRUE(result.error().exit);
}

TEST(Faults, ACallThatReachesAWorkerWhileItsExitIsHandledEndsAsLost) {
  std::promise<void> exit_is_handled;
  std::promise<void> submitted;
  PoolOptions options;
  options.adapter = MisbehavingWorker("none");
  options.workers = 1;
  options.log = [&](LogLevel, std::string_view line) {
    if (line.find("ended by signal 9") == std::string_view::npos) return;
    exit_is_handled.set_value();
    submitted.get_future().wait();
  };
  auto pool = Pool::Start(std::move(options));
  ASSERT_TRUE(pool) << pool.error().ToString();
  kill(pool->Workers()[0].pid, SIGKILL);
  exit_is_handled.get_future().wait();
  std::promise<Result<Value>> ended;
  std::thread call([&] { ended.set_value(pool->Execute("ping", {})); });
  EXPECT_TRUE(testing::Await([&] { return pool->Stats().calls_accepted > 0; }));
  submitted.set_value();
  auto result = ended.get_future().get();
  call.join();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
  EXPECT_FALSE(result.error().may_have_run);
  EXPECT_TRUE(pool->Execute("ping", {}));
}

TEST(Faults, AGuardianThatIsKilledIsReplacedAndItsWorkersWithIt) {
  for (auto kind : {testing::WorkerKind::kBundledStdioJson, testing::WorkerKind::kBundledGrpc}) {
    SCOPED_TRACE(testing::WorkerKindName(kind));
    testing::LogWatcher log;
    auto pool = StartPool(testing::WorkerOfKind(kind), 2, &log);
    ASSERT_TRUE(pool) << pool.error().ToString();
    for (int round = 1; round <= 3; ++round) {
      const pid_t worker = pool->Workers()[0].pid;
      kill(testing::ParentOf(worker), SIGKILL);
      ASSERT_TRUE(log.WaitFor("is ready", 2 + 2 * round)) << log.Text();
      EXPECT_FALSE(testing::IsAlive(worker));
      EXPECT_TRUE(pool->Execute("ping", {}));
    }
  }
}

}  // namespace
}  // namespace snakepit
