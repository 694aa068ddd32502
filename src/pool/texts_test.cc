// A worker's texts in the log and in errors: they forge no line, no terminal obeys them, they are
// not endless, and they do not tell the worker's token. PROTOCOL.md 6.13.4.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/quote.h"
#include "src/testing/peak_memory.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using ::testing::HasSubstr;

// It serves gRPC without an SDK. UNWELL in its environment: with what status text Health fails.
constexpr char kWorker[] = R"(
import os, sys
TOKEN = os.environ["SNAKEPIT_TOKEN"]  # before the SDK takes it away
from concurrent import futures
import grpc
from snakepit_bridge import snakepit_pb2 as pb

UNWELL = os.environ.get("UNWELL")

def say(text):
    sys.stderr.write(text)
    sys.stderr.flush()

def execute(request, context):
    command = request.command
    if command.startswith("status "):
        context.abort(grpc.StatusCode.UNKNOWN, command.partition(" ")[2])
    elif command.startswith("error "):
        return pb.ExecuteResponse(error=command.partition(" ")[2])
    elif command == "token in status":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it is " + TOKEN)
    elif command == "token in error":
        return pb.ExecuteResponse(error="it is " + TOKEN, code="INVALID_ARGUMENT")
    elif command == "token at the cut":
        return pb.ExecuteResponse(error="x" * (65536 - 50) + TOKEN)
    elif command == "long error":
        return pb.ExecuteResponse(error="long " + "x" * (30 << 20))
    elif command == "die":
        say("\ntoken " + TOKEN + " and half " + TOKEN[:32] + "\n")
        os._exit(3)
    else:
        say(command)
    return pb.ExecuteResponse(success=True, typed_result=b"\xc0")

def health(request, context):
    if UNWELL:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, UNWELL)
    return pb.HealthResponse(healthy=True, worker_id="w\n" * 1000, version="v " + TOKEN)

def unary(function, request):
    return grpc.unary_unary_rpc_method_handler(
        function, request.FromString, lambda message: message.SerializeToString())

server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
    "snakepit.SnakepitBridge", {
        "Execute": unary(execute, pb.ExecuteRequest),
        "Health": unary(health, pb.HealthRequest),
        "GetInfo": unary(lambda *_: pb.InfoResponse(protocol_version=2, capacity=8),
                         pb.InfoRequest),
    }),))
server.add_insecure_port("unix:" + sys.argv[-1])
server.start()
server.wait_for_termination()
)";

// A line of the log that a worker would like to write, and what would hide the rest of it.
constexpr char kForged[] = "done\nworker 7 (pid 1) is ready\x1b[2K\u009b1A\u202e\u2028";
constexpr char kEscaped[] = "done\\nworker 7 (pid 1) is ready\\x1b[2K\\u009b1A\\u202e\\u2028";

class TextsTest : public ::testing::Test {
 protected:
  TextsTest() {
    options_.workers = 1;
    options_.adapter = testing::PythonWorker(kWorker, "Grpc");
    options_.log = [this, sink = log_.sink()](LogLevel level, std::string_view line) {
      sink(level, line);
      std::lock_guard lock(mutex_);
      lines_.emplace_back(line);
    };
  }

  void Begin() {
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
  }

  Error ErrorOf(std::string_view command) {
    const Result<Value> result = pool_->Execute(command, {});
    EXPECT_FALSE(result);
    return result ? Error() : result.error();
  }

  // Each as the sink got it.
  std::vector<std::string> Lines() const {
    std::lock_guard lock(mutex_);
    return lines_;
  }

  PoolOptions options_;
  testing::LogWatcher log_;
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  std::optional<Pool> pool_;
};

TEST_F(TextsTest, AStatusTextForgesNoLineOfTheLog) {
  options_.adapter.environment["UNWELL"] = kForged;
  const auto pool = Pool::Start(options_);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().code, ErrorCode::kStartFailed);
  EXPECT_THAT(pool.error().message, HasSubstr(kEscaped));
  bool told = false;
  for (const std::string& line : Lines()) {
    EXPECT_EQ(line, Printable(line));
    told = told || line.find(kEscaped) != std::string::npos;
  }
  EXPECT_TRUE(told) << log_.Text();
}

TEST_F(TextsTest, AnErrorIsOneLineThatIsSafeToShow) {
  Begin();
  for (const char* way : {"status ", "error "}) {
    EXPECT_EQ(ErrorOf(std::string(way) + kForged).message, kEscaped);
  }
}

TEST_F(TextsTest, AWorkersLineIsSafeToShow) {
  Begin();
  ASSERT_TRUE(pool_->Execute("bell \a and \x1b]0;title\x1b\\ \u202eright\r to left\n", {}));
  ASSERT_TRUE(log_.WaitFor("to left"));
  EXPECT_THAT(log_.Text(),
              HasSubstr("worker 0: bell \\x07 and \\x1b]0;title\\x1b\\ \\u202eright\\r to left"));
}

TEST_F(TextsTest, AWorkersLineCanBeHadAsItIs) {
  options_.raw_worker_lines = true;
  Begin();
  ASSERT_TRUE(pool_->Execute("bell \a and \x1b[31m \u202eright\r to left\n", {}));
  ASSERT_TRUE(log_.WaitFor("to left"));
  EXPECT_THAT(log_.Text(), HasSubstr("worker 0: bell \a and \x1b[31m \u202eright\r to left"));
}

TEST_F(TextsTest, ALongErrorIsCutAndMarked) {
  Begin();
  const PeakMemory memory;
  std::vector<Error> errors;
  for (int i = 0; i < 20; ++i) errors.push_back(ErrorOf("long error"));
  EXPECT_LT(memory.Growth(), int64_t{300} << 20);  // one reply at a time, in gRPC
  for (const Error& error : errors) {
    EXPECT_EQ(error.code, ErrorCode::kHandlerFailed);
    EXPECT_TRUE(error.message.starts_with("long xxx"));
    EXPECT_TRUE(error.message.ends_with("x [31391783 bytes more]")) << error.message.substr(65'400);
    EXPECT_LE(error.message.size(), kMostErrorTextBytes);
  }
}

TEST_F(TextsTest, WhatAWorkerCallsItselfIsShort) {
  Begin();
  const auto health = pool_->CheckHealth(0);
  ASSERT_TRUE(health) << health.error().ToString();
  EXPECT_TRUE(health->worker_id.starts_with("w\\nw\\n")) << health->worker_id;
  EXPECT_TRUE(health->worker_id.ends_with(" bytes more]")) << health->worker_id;
  EXPECT_LT(health->worker_id.size(), 2 * kMostNameBytes);
}

TEST_F(TextsTest, AWorkersTokenIsInNoTextOfIt) {
  Begin();
  EXPECT_EQ(ErrorOf("token in status").message,
            "gRPC status FAILED_PRECONDITION: it is [the worker's token]");
  EXPECT_EQ(ErrorOf("token in error").message, "it is [the worker's token]");
  EXPECT_THAT(ErrorOf("token at the cut").message,
              HasSubstr("xxx[the worker's token] ["));  // a part of it
  const auto health = pool_->CheckHealth(0);
  ASSERT_TRUE(health) << health.error().ToString();
  EXPECT_EQ(health->version, "v [the worker's token]");
  std::promise<Result<Value>> submitted;
  pool_->Submit("token in error", {},
                [&submitted](Result<Value> result) { submitted.set_value(std::move(result)); });
  EXPECT_EQ(submitted.get_future().get().error().message, "it is [the worker's token]");

  constexpr char kLine[] = "token [the worker's token] and half [the worker's token]";
  const Error lost = ErrorOf("die");
  EXPECT_EQ(lost.code, ErrorCode::kWorkerLost);
  EXPECT_THAT(lost.stderr_tail, HasSubstr(kLine));
  EXPECT_TRUE(log_.WaitFor(kLine));
  pool_.reset();
}

TEST_F(TextsTest, AWorkersTokenIsNotInTheErrorOfItsStart) {
  options_.adapter.argv.insert(options_.adapter.argv.begin(),
                               {"/bin/sh", "-c", "echo \"T $SNAKEPIT_TOKEN.\" >&2; exit 3", "sh"});
  const auto pool = Pool::Start(options_);
  ASSERT_FALSE(pool);
  EXPECT_EQ(pool.error().stderr_tail, "T [the worker's token].");
  EXPECT_THAT(log_.Text(), HasSubstr("worker 0: T [the worker's token]."));
}

}  // namespace
}  // namespace snakepit
