// A pool speaks to the processes of its gRPC workers, and to nobody that listens in their place.
// PROTOCOL.md 4.2 and 6.13.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/testing/temp_folder.h"
#include "src/testing/workers.h"
#include "src/transport/grpc/testing/listener.h"

namespace snakepit {
namespace {

using ::testing::HasSubstr;
using testing::Listener;

// Serves at the address that is its last argument, of version 1. `leave` stops the server, and not
// the process.
constexpr char kWorker[] = R"(
import sys, threading
from concurrent import futures
import grpc
from snakepit_bridge import snakepit_pb2 as pb

def leave():
    server.stop(None).wait()
    print("has left", file=sys.stderr, flush=True)

def execute(request, context):
    if request.command == "leave":
        context.add_callback(threading.Thread(target=leave).start)
    return pb.ExecuteResponse(success=True, result={"value": b"1"})

def unary(function, request):
    return grpc.unary_unary_rpc_method_handler(
        function, request.FromString, lambda message: message.SerializeToString())

server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
    "snakepit.SnakepitBridge", {
        "Execute": unary(execute, pb.ExecuteRequest),
        "Health": unary(lambda *_: pb.HealthResponse(healthy=True), pb.HealthRequest),
    }),))
address = sys.argv[-1]
server.add_insecure_port(address)
server.start()
if address.startswith("unix:"):
    print("GRPC_READY:" + address[5:], flush=True)
threading.Event().wait()
)";

constexpr char kSecret[] = "what nobody else is to know";

// Speaks HTTP/2 to whoever connects, and hears what they say.
class Intruder {
 public:
  template <typename... Arguments>
  explicit Intruder(const Arguments&... arguments)
      : listener_(arguments...), thread_([this] { Run(); }) {}

  const GrpcAddress& address() const { return listener_.address(); }

  // All that it has heard, by its end.
  std::string End() {
    shutdown(listener_.fd(), SHUT_RDWR);
    thread_.join();
    return heard_;
  }

 private:
  void Run() {
    for (;;) {
      const UniqueFd accepted(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!accepted.valid()) return;
      testing::Say(accepted, testing::kSettings);
      heard_ += testing::HearAll(accepted);
    }
  }

  Listener listener_;
  std::string heard_;
  std::thread thread_;
};

class GrpcIntruderTest : public ::testing::Test {
 protected:
  GrpcIntruderTest() {
    options_.workers = 1;
    options_.log = log_.sink();
  }

  // The worker above, which serves there.
  void ServeAt(const std::string& address) {
    options_.adapter = testing::PythonWorker(kWorker, "Grpc");
    options_.adapter.argv.resize(options_.adapter.argv.size() - 4);
    options_.adapter.argv.push_back(address);
  }

  // A worker that says so, and nothing else.
  void Announce(const std::string& address) {
    options_.adapter.argv = {"/bin/sh", "-c", "echo \"GRPC_READY:$0\"; exec sleep 3600", address};
    options_.adapter.transport = GrpcTransport{};
  }

  void StartThrough(const std::string& shell_command) {
    std::vector<std::string> argv = {"/bin/sh", "-c", shell_command, "sh"};
    argv.insert(argv.end(), options_.adapter.argv.begin(), options_.adapter.argv.end());
    options_.adapter.argv = std::move(argv);
  }

  void ExpectServes() {
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
    const auto result = pool_->Execute("ping", {});
    EXPECT_TRUE(result) << result.error().ToString();
  }

  Error StartError() {
    auto pool = Pool::Start(options_);
    EXPECT_FALSE(pool);
    return pool ? Error{} : pool.error();
  }

  PoolOptions options_;
  testing::LogWatcher log_;
  std::optional<Pool> pool_;
};

TEST_F(GrpcIntruderTest, WhoTookThePortFirstHearsNothing) {
  Intruder intruder;
  Announce(std::to_string(intruder.address().port));
  const Error error = StartError();
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_THAT(error.message, HasSubstr("127.0.0.1:" + std::to_string(intruder.address().port)));
  EXPECT_THAT(error.message, HasSubstr("is not known to be the worker"));
  EXPECT_THAT(error.message, HasSubstr("{socket}"));
  EXPECT_EQ(intruder.End(), "");
}

TEST_F(GrpcIntruderTest, WhoTakesThePortLaterHearsNothing) {
  const int port = Listener().address().port;
  ServeAt("127.0.0.1:" + std::to_string(port));
  StartThrough("echo GRPC_READY:" + std::to_string(port) + "; exec \"$@\"");
  ExpectServes();
  ASSERT_TRUE(pool_->Execute("leave", {}));
  ASSERT_TRUE(log_.WaitFor("has left"));
  Intruder intruder(AF_INET, port);
  const auto result = pool_->Execute("ping", Value::Map{{"secret", kSecret}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost) << result.error().ToString();
  EXPECT_FALSE(result.error().may_have_run);
  pool_.reset();
  EXPECT_EQ(intruder.End(), "");
}

TEST_F(GrpcIntruderTest, AListenerOfAChildOfTheWorkerIsTheWorkers) {
  ServeAt("127.0.0.1:{port}");
  StartThrough("\"$@\" & wait");
  ExpectServes();
}

TEST_F(GrpcIntruderTest, SoIsThatOfAnOrphan) {
  ServeAt("127.0.0.1:{port}");
  StartThrough("(setsid \"$@\" &); exec sleep 3600");
  ExpectServes();
}

TEST_F(GrpcIntruderTest, AListenerOnAllAddressesIsTheWorkers) {
  ServeAt("[::]:{port}");
  ExpectServes();
}

TEST_F(GrpcIntruderTest, ASocketOfAnotherIsRefusedByName) {
  const testing::TempFolder folder;
  Intruder intruder(folder.path() / "w.sock");
  Announce(intruder.address().socket_path);
  const Error error = StartError();
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_THAT(error.message, HasSubstr(intruder.address().socket_path));
  EXPECT_THAT(error.message, HasSubstr("is not known to be the worker"));
  EXPECT_EQ(intruder.End(), "");
}

TEST_F(GrpcIntruderTest, ASocketThatTheWorkerMadeElsewhereIsItsOwn) {
  const testing::TempFolder folder;
  ServeAt("unix:" + (folder.path() / "w.sock").string());
  ExpectServes();
}

TEST_F(GrpcIntruderTest, ASocketThatNobodyCanHaveIsRefusedByName) {
  Announce("/" + std::string(107, 'x'));
  const Error error = StartError();
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_THAT(error.message, HasSubstr("at most 107 bytes"));
}

TEST_F(GrpcIntruderTest, AWebServerIsNamedByWhatItSays) {
  options_.adapter.argv = {"/usr/bin/python3", "-P",     "-m", "http.server", "-b",
                           "127.0.0.1",        "{port}", "-d", "/nowhere"};
  options_.adapter.transport = GrpcTransport{};
  const auto start = std::chrono::steady_clock::now();
  const Error error = StartError();
  EXPECT_EQ(error.code, ErrorCode::kStartFailed);
  EXPECT_THAT(error.message, HasSubstr("is no gRPC server"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, options_.adapter.start_timeout / 2);
}

TEST_F(GrpcIntruderTest, TheFolderOfSocketsMayHaveAnyName) {
  const testing::TempFolder folder("50% #1? b&c %41");
  setenv("XDG_RUNTIME_DIR", folder.path().c_str(), 1);
  setenv("TMPDIR", folder.path().c_str(), 1);
  for (const auto kind : {testing::FixtureKind::kPythonGrpc, testing::FixtureKind::kCppGrpc}) {
    options_.adapter = testing::FixtureOfKind(kind);
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    const Value args = Value::Map{{"n", 1}};
    EXPECT_EQ(pool->Execute("echo", args).value(), args);
  }
}

}  // namespace
}  // namespace snakepit
