#include "src/cli/hints.h"

#include <gtest/gtest.h>

#include <string>

namespace snakepit {
namespace {

using std::chrono::milliseconds;

std::string Hint(ErrorCode code, const CallArguments& call) {
  return HintFor(Error{.code = code, .message = "why"}, call);
}

void ExpectHas(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

CallArguments OwnWorker() { return {.command = "x", .worker = {"python3", "my worker.py"}}; }

TEST(Hints, ADeadlineCanBeRaised) {
  CallArguments call{.command = "x", .timeout = milliseconds(1'500)};
  EXPECT_EQ(Hint(ErrorCode::kDeadlineExceeded, call), "allow more time: --timeout 3s");
  call.timeout.reset();
  EXPECT_EQ(Hint(ErrorCode::kDeadlineExceeded, call), "allow more time: --timeout 1m");
  call.stream = true;
  EXPECT_EQ(Hint(ErrorCode::kDeadlineExceeded, call), "allow more time: --timeout 10m");
  call.timeout = std::chrono::hours(23);
  EXPECT_EQ(Hint(ErrorCode::kDeadlineExceeded, call), "allow more time: --timeout 1440m");
}

TEST(Hints, AFullQueueNeedsWorkers) {
  ExpectHas(Hint(ErrorCode::kQueueTimeout, {.command = "x", .workers = 2}), "--workers 4");
  ExpectHas(Hint(ErrorCode::kQueueFull, {.command = "x", .workers = 2}), "--parallel");
}

TEST(Hints, AnUnknownCommandSuggestsInfo) {
  ExpectHas(Hint(ErrorCode::kUnimplemented, {.command = "x"}), "snakepit exec info");
  ExpectHas(Hint(ErrorCode::kUnimplemented, OwnWorker()),
            "snakepit exec info -- python3 'my worker.py'");
}

TEST(Hints, AWorkerThatEndsAtOnceOverGrpcMayServeOnlyStdio) {
  CallArguments call = OwnWorker();
  call.transport = TransportKind::kGrpc;
  const Error error{.code = ErrorCode::kStartFailed, .exit = ExitStatus{}};
  ExpectHas(HintFor(error, call), "does it serve gRPC?");
}

TEST(Hints, AWorkerThatEndedIsToBeRunByHand) {
  Error error{.code = ErrorCode::kStartFailed, .exit = ExitStatus{.code = 3}};
  ExpectHas(HintFor(error, OwnWorker()), "why it ends: python3 'my worker.py'");
  ExpectHas(HintFor(error, OwnWorker()), "--env");
  error.exit.reset();
  EXPECT_EQ(HintFor(error, OwnWorker()), "");
}

TEST(Hints, AStartThatHangsMayBeTheWrongProtocol) {
  CallArguments call = OwnWorker();
  call.start_timeout = milliseconds(2'000);
  ExpectHas(Hint(ErrorCode::kStartTimeout, call), "--no-handshake with its --codec");
  ExpectHas(Hint(ErrorCode::kStartTimeout, call), "--start-timeout 4s");
  call.codec = Codec::kJson;
  call.handshake = false;
  ExpectHas(Hint(ErrorCode::kStartTimeout, call), "leave --no-handshake out");
  call.codec.reset();
  call.handshake = true;
  call.transport = TransportKind::kGrpc;
  ExpectHas(Hint(ErrorCode::kStartTimeout, call), "{port}");
  ExpectHas(Hint(ErrorCode::kStartTimeout, {.command = "x"}), "more time");
}

TEST(Hints, AWorkerMustNotPrintToStdout) {
  ExpectHas(Hint(ErrorCode::kProtocolError, OwnWorker()), "stderr");
}

TEST(Hints, AnotherCodecSuggestsItsFlag) {
  CallArguments call = OwnWorker();
  call.codec = Codec::kMessagePack;
  Error error{.code = ErrorCode::kProtocolError,
              .message =
                  "worker 0 did not start: handshake: the worker knows no handshake and "
                  "speaks json, but only msgpack was offered, in \"{}\""};
  ExpectHas(HintFor(error, call), "leave --codec out, or use --codec json");
  error = {.code = ErrorCode::kStartFailed,
           .message = "worker 0 did not start: the worker refused the handshake: json alone"};
  ExpectHas(HintFor(error, call), "leave --codec out, or use --codec json");
  call.codec = Codec::kJson;
  call.handshake = false;
  error = {.code = ErrorCode::kProtocolError, .message = "worker 0 did not start: no JSON"};
  ExpectHas(HintFor(error, call), "--codec msgpack");
  ExpectHas(Hint(ErrorCode::kStartTimeout, call), "--codec msgpack");
}

TEST(Hints, AWrongReplyOverGrpcNamesTheProtoFile) {
  CallArguments call = OwnWorker();
  call.transport = TransportKind::kGrpc;
  ExpectHas(Hint(ErrorCode::kProtocolError, call), "proto/snakepit.proto");
}

TEST(Hints, ALostCallSaysIfARetryIsSafe) {
  Error error{.code = ErrorCode::kWorkerLost, .may_have_run = true};
  ExpectHas(HintFor(error, OwnWorker()), "only if that is safe");
  error.may_have_run = false;
  ExpectHas(HintFor(error, OwnWorker()), "did not run");
}

TEST(ShellCommand, QuotesForAShell) {
  EXPECT_EQ(ShellCommand({"python3", "w.py", "--port", "{port}", "it's", ""}),
            R"(python3 w.py --port '{port}' 'it'\''s' '')");
}

}  // namespace
}  // namespace snakepit
