// Outcomes of calls to gRPC workers without an SDK, which are busy, end an RPC with a status, or
// send messages that cannot be read. PROTOCOL.md 4.4 to 4.8.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "snakepit/pool.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

// VERSION, THREADS, LIMIT (of RPCs at a time; 0: none) and SILENT (1: Health answers but once) are
// in its environment.
constexpr char kWorker[] = R"(
import os, sys, threading, time
from concurrent import futures
import grpc, msgpack
from snakepit_bridge import snakepit_pb2 as pb

VERSION, THREADS, LIMIT, SILENT = (
    int(os.environ[name]) for name in ("VERSION", "THREADS", "LIMIT", "SILENT"))
released = threading.Event()
checks = []

def say(text):
    print(text, file=sys.stderr, flush=True)

def response(value):
    if VERSION == 2:
        return pb.ExecuteResponse(success=True, typed_result=msgpack.packb(value))
    return pb.ExecuteResponse(success=True, result={"value": str(value).encode()})

def execute(request, context):
    command = request.command
    if command == "sleep":
        say("began to sleep")
        time.sleep(2.5)
    elif command == "wait":
        say("began to wait")
        released.wait()
    elif command == "release":
        released.set()
    elif command == "stop and raise":
        server.stop(10)  # says GOAWAY, and lets the calls end
        time.sleep(0.5)
        raise ValueError("boom")
    elif command == "raise":
        raise ValueError("x" * 12000)
    elif command == "half a surrogate":
        return b"\x1a\x0dfailed on \xed\xa0\xbd"
    elif command == "pid":
        return response(os.getpid())
    elif command != "ping":
        context.abort(grpc.StatusCode[command], "upstream said so")
    return response(1)

def stream(request, context):
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        time.sleep(0.005)
        if VERSION == 2:
            yield pb.StreamResponse(typed_chunk=msgpack.packb(1))
        else:
            yield pb.StreamResponse(chunk={"n": b"1"})
    yield pb.StreamResponse(is_final=True)

def health(request, context):
    checks.append(1)
    if SILENT and len(checks) > 1:
        threading.Event().wait()
    return pb.HealthResponse(healthy=True)

def info(request, context):
    return pb.InfoResponse(protocol_version=VERSION, capacity=4, features=["stream"])

def packed(message):
    return message if isinstance(message, bytes) else message.SerializeToString()

def unary(function, request):
    return grpc.unary_unary_rpc_method_handler(function, request.FromString, packed)

def streaming(function, request):
    return grpc.unary_stream_rpc_method_handler(function, request.FromString, packed)

server = grpc.server(
    futures.ThreadPoolExecutor(THREADS), maximum_concurrent_rpcs=LIMIT or None)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
    "snakepit.SnakepitBridge", {
        "Execute": unary(execute, pb.ExecuteRequest),
        "ExecuteStream": streaming(stream, pb.ExecuteRequest),
        "Health": unary(health, pb.HealthRequest),
        "GetInfo": unary(info, pb.InfoRequest),
    }),))
server.add_insecure_port("unix:" + sys.argv[-1])
server.start()
server.wait_for_termination()
)";

struct Kind {
  int version = 2;
  int threads = 8;
  int limit = 0;
  bool silent = false;
};

class GrpcOutcomesTest : public ::testing::Test {
 protected:
  void Begin(const Kind& kind) {
    options_.workers = 1;
    options_.adapter = testing::PythonWorker(kWorker, "Grpc");
    auto& environment = options_.adapter.environment;
    environment["VERSION"] = std::to_string(kind.version);
    environment["THREADS"] = std::to_string(kind.threads);
    environment["LIMIT"] = std::to_string(kind.limit);
    environment["SILENT"] = std::to_string(kind.silent);
    options_.log = log_.sink();
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
  }

  // Checks come all the time, and an answer to one may take long enough for a busy machine, but not
  // as long as a call of `sleep`.
  void CheckOften() {
    options_.health.interval = milliseconds(50);
    options_.health.timeout = milliseconds(1'000);
  }

  Result<int64_t> Stream() {
    return pool_->ExecuteStream("count", {}, [](const Chunk&) { return true; });
  }

  void ExpectTheSameWorker() {
    const PoolStats stats = pool_->Stats();
    EXPECT_EQ(stats.restarts, 0) << log_.Text();
    EXPECT_EQ(stats.crashes, 0) << log_.Text();
  }

  std::vector<std::future<Result<Value>>> Wait(int calls) {
    std::vector<std::future<Result<Value>>> waiting;
    for (int i = 0; i < calls; ++i) {
      waiting.push_back(
          std::async(std::launch::async, [this] { return pool_->Execute("wait", {}); }));
    }
    EXPECT_TRUE(log_.WaitFor("began to wait", calls));
    return waiting;
  }

  PoolOptions options_;
  testing::LogWatcher log_;
  std::optional<Pool> pool_;
};

// --- Busy is not dead --------------------------------------------------------------------------

TEST_F(GrpcOutcomesTest, AVersion1WorkerWithOneThreadLivesThroughItsCalls) {
  CheckOften();
  Begin({.version = 1, .threads = 1});
  const auto chunks = Stream();
  EXPECT_TRUE(chunks) << chunks.error().ToString();
  const auto result = pool_->Execute("sleep", {});
  EXPECT_TRUE(result) << result.error().ToString();
  ExpectTheSameWorker();
}

TEST_F(GrpcOutcomesTest, AVersion1WorkerThatLimitsItsRpcsLivesThroughItsCalls) {
  CheckOften();
  Begin({.version = 1, .limit = 1});
  const auto result = pool_->Execute("sleep", {});
  EXPECT_TRUE(result) << result.error().ToString();
  ExpectTheSameWorker();
}

TEST_F(GrpcOutcomesTest, AWorkerThatLimitsItsRpcsSaysThatItIsBusy) {
  CheckOften();
  Begin({.version = 2, .limit = 1});
  const auto result = pool_->Execute("sleep", {});
  EXPECT_TRUE(result) << result.error().ToString();
  ExpectTheSameWorker();
}

TEST_F(GrpcOutcomesTest, AWorkerThatSendsChunksIsNotTakenForHung) {
  CheckOften();
  Begin({.version = 2, .threads = 1});
  const auto chunks = Stream();
  EXPECT_TRUE(chunks) << chunks.error().ToString();
  ExpectTheSameWorker();
}

TEST_F(GrpcOutcomesTest, ASilentWorkerWithoutCallsIsReplaced) {
  CheckOften();
  Begin({.version = 1, .silent = true});
  EXPECT_TRUE(log_.WaitFor("did not answer a health check"));
}

// --- A handler's status ------------------------------------------------------------------------

TEST_F(GrpcOutcomesTest, AStatusHarmsNeitherTheWorkerNorItsOtherCalls) {
  Begin({});
  auto waiting = Wait(3);
  for (const char* status : {"NOT_FOUND", "CANCELLED", "UNAVAILABLE", "DEADLINE_EXCEEDED",
                             "RESOURCE_EXHAUSTED", "INTERNAL"}) {
    const auto result = pool_->Execute(status, {});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kHandlerFailed);
    EXPECT_EQ(result.error().message, std::string("gRPC status ") + status + ": upstream said so");
    EXPECT_TRUE(result.error().may_have_run);
  }
  EXPECT_TRUE(pool_->Execute("release", {}));
  for (auto& call : waiting) {
    const auto result = call.get();
    EXPECT_TRUE(result) << result.error().ToString();
  }
  ExpectTheSameWorker();
}

TEST_F(GrpcOutcomesTest, AnExceptionOfAWorkerThatStopsIsItsOwn) {
  Begin({});
  const auto failed = pool_->Execute("stop and raise", {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kHandlerFailed) << failed.error().ToString();
  EXPECT_THAT(failed.error().message, HasSubstr("boom"));
}

TEST_F(GrpcOutcomesTest, ALongErrorTextHarmsNoOtherCall) {
  Begin({});
  auto waiting = Wait(3);
  const auto failed = pool_->Execute("raise", {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kHandlerFailed);
  EXPECT_THAT(failed.error().message, HasSubstr(std::string(12'000, 'x')));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(pool_->Execute("release", {}));
  for (auto& call : waiting) EXPECT_TRUE(call.get());
  ExpectTheSameWorker();
}

TEST_F(GrpcOutcomesTest, AKilledWorkerIsLostToEachCall) {
  Begin({});
  auto waiting = Wait(4);
  kill(pool_->Workers()[0].pid, SIGKILL);
  for (auto& call : waiting) {
    const auto result = call.get();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
    EXPECT_THAT(result.error().message, HasSubstr("signal 9"));
  }
}

// --- Replies that cannot be read ---------------------------------------------------------------

TEST_F(GrpcOutcomesTest, AReplyThatCannotBeReadHasItsCauseOnEveryPath) {
  Begin({});
  const auto waited = pool_->Execute("half a surrogate", {});
  std::promise<Result<Value>> promise;
  pool_->Submit("half a surrogate", {},
                [&](Result<Value> result) { promise.set_value(std::move(result)); });
  for (const Result<Value>& result : {waited, promise.get_future().get()}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kProtocolError);
    EXPECT_THAT(result.error().message, HasSubstr("text that is not UTF-8 in `error`"));
    EXPECT_TRUE(result.error().may_have_run);
  }
  ExpectTheSameWorker();
}

}  // namespace
}  // namespace snakepit
