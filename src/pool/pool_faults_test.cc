// What a pool makes of workers that do not start, misbehave, or are left behind. Each fault ends in
// a named error, and the pool serves on.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <sstream>
#include <stop_token>
#include <thread>

#include "snakepit/pool.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::LegacyStdioWorker;
using testing::MisbehavingWorker;

Result<Pool> StartPool(Adapter adapter, int workers = 1, testing::LogWatcher* log = nullptr) {
  PoolOptions options;
  options.adapter = std::move(adapter);
  options.workers = workers;
  options.cancel_grace = milliseconds(100);  // a legacy worker that overruns is replaced soon
  if (log != nullptr) options.log = log->sink();
  return Pool::Start(std::move(options));
}

// A file that goes away with the test.
class TempPath {
 public:
  explicit TempPath(std::string_view name)
      : path_(::testing::TempDir() + "/" + std::string(name) + "." + std::to_string(getpid())) {}
  ~TempPath() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

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
  std::string says;  // in the message
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
  const TempPath fifo("fifo"), record("record");
  ASSERT_EQ(mkfifo(fifo.path().c_str(), 0600), 0);
  auto pool = StartPool(
      MisbehavingWorker("late-reply", {"--until", fifo.path(), "--record", record.path()}));
  ASSERT_TRUE(pool) << pool.error().ToString();
  std::promise<Result<Value>> first;
  pool->Submit("fault", {}, [&first](Result<Value> result) { first.set_value(result); });
  auto queued = pool->Execute("echo", {}, {.queue_timeout = milliseconds(20)});
  ASSERT_FALSE(queued);
  EXPECT_EQ(queued.error().code, ErrorCode::kQueueTimeout);
  close(open(fifo.path().c_str(), O_WRONLY));  // the worker replies now
  EXPECT_TRUE(first.get_future().get());
  EXPECT_TRUE(pool->Execute("ping", {}));

  std::ifstream file(record.path());
  std::stringstream commands;
  std::string pid, command, id;
  while (file >> pid >> command >> id) commands << command << " ";
  EXPECT_EQ(commands.str(), "ping fault ping ") << "the first ping is the start's";
}

// Breakage 3: a worker is not listed as free while it is busy with a call that was given up. Which
// it may be until its grace is over. PROTOCOL.md 6.6.6.
TEST(Faults, AWorkerThatAnswersLateIsKeptAndItsLateReplyDropped) {
  const TempPath fifo("late-fifo");
  ASSERT_EQ(mkfifo(fifo.path().c_str(), 0600), 0);
  PoolOptions options;
  options.adapter = MisbehavingWorker("late-reply", {"--until", fifo.path()});
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

  close(open(fifo.path().c_str(), O_WRONLY));  // the worker replies now
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

// `body` serves in fixed JSON.
Adapter InlineStdioWorker(std::string_view body) {
  Adapter adapter;
  adapter.argv = {"/usr/bin/python3", "-c", R"(
import json, os, struct, sys
take = sys.stdin.buffer.read
def size():
    return struct.unpack(">I", take(4))[0]
def reply(id, result):
    payload = json.dumps({"id": id, "success": True, "result": result}).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(payload)) + payload)
    sys.stdout.buffer.flush()
)" + std::string(body)};
  adapter.transport = StdioTransport{.codecs = {Codec::kJson}, .negotiate = false};
  return adapter;
}

TEST(Faults, AWorkerThatRepliesBeforeItHasReadTheWholeRequestHoldsNobodyUp) {
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
  while (pool->Stats().calls_accepted == 0) std::this_thread::yield();
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

// --- Faults of a start --------------------------------------------------------------------------

struct StartFault {
  std::string name;
  Adapter (*adapter)();
  ErrorCode code;
  std::string says;         // in the message
  std::string stderr_says;  // in the end of its stderr
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
    char runtime[] = "/tmp/pool_faults_test-XXXXXX";  // short enough for the path of a socket
    ASSERT_NE(mkdtemp(runtime), nullptr);
    int out[2];
    ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
    const pid_t pool = fork();
    if (pool == 0) {
      dup2(out[1], 1);
      setenv("XDG_RUNTIME_DIR", runtime, 1);
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
    EXPECT_TRUE(std::filesystem::is_empty(runtime)) << "its sockets' folder is left";
    std::filesystem::remove_all(runtime);
  }
}

}  // namespace
}  // namespace snakepit
