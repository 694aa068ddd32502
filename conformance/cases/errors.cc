// Group err: failing calls.
#include "conformance/cases/cases.h"
#include "conformance/cases/fixture.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

Verdict UnknownCommand(Testbed& testbed) {
  const pid_t pid = testbed.Workers()[0].pid;
  // Over gRPC version 1 has no clause that turns the text into UNIMPLEMENTED (2.4.5).
  const bool is_version_1_grpc = testbed.Workers()[0].protocol_version < 2 &&
                                 std::holds_alternative<GrpcTransport>(testbed.adapter().transport);
  const Reply reply = testbed.Call("conformance.no_such_command");
  const auto is = [&reply](ErrorCode code) {
    return !reply.result && reply.result.error().code == code;
  };
  if (!is(ErrorCode::kUnimplemented) && !(is_version_1_grpc && is(ErrorCode::kHandlerFailed))) {
    return Verdict::Fail("UNIMPLEMENTED", reply.Describe());
  }
  const Reply next = testbed.Call("ping");
  if (!next.result || next.info.worker_pid != pid) {
    return Verdict::Fail("the same process serves the next call", next.Describe());
  }
  return Verdict::Pass();
}

Case UnknownCommandCase() {
  return {
      .id = "err/unknown-command",
      .title = "an unknown command is UNIMPLEMENTED",
      .clause = "5.2.4",
      .requirement = "an unknown command is UNIMPLEMENTED, never a success, and the process stays",
      .run = UnknownCommand,
      .mutants = {{kWorker, "unknown-is-success", "the result"},
                  {kWorker, "unknown-is-a-failure", "HANDLER_FAILED"},
                  {kWorker, "exits-at-unknown", "WORKER_LOST"}}};
}

// True for "ValueError: no row 2", with any type name.
bool NamesTypeAndMessage(std::string_view text, std::string_view message) {
  const size_t at = text.find(": " + std::string(message));
  if (at == std::string_view::npos || at == 0) return false;
  const char before = text[at - 1];  // ends the name of the type
  return before == '_' || before == '>' || (before >= '0' && before <= '9') ||
         (before >= 'a' && before <= 'z') || (before >= 'A' && before <= 'Z');
}

Verdict HandlerException(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.raise"})) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  const Reply reply = testbed.Call("conf.raise", Value::Map{{"text", "no row 2"}});
  if (auto wrong = ExpectError(reply, ErrorCode::kHandlerFailed)) return *wrong;
  if (!NamesTypeAndMessage(reply.result.error().message, "no row 2")) {
    return Verdict::Fail("the error is the type of the exception, and 'no row 2'",
                         reply.Describe());
  }
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  return Verdict::Pass();
}

Case HandlerExceptionCase() {
  return {.id = "err/handler-exception",
          .title = "an exception of a handler is HANDLER_FAILED, with its type and message",
          .clause = "6.4.4",
          .requirement = "an exception fails its call, with its type, and the process stays",
          .run = HandlerException,
          .mutants = {{kWorker, "hides-exception-type", "HANDLER_FAILED"},
                      {kWorker, "exits-at-exception", "WORKER_LOST"}}};
}

Verdict UnencodableResult(Testbed& testbed) {
  if (auto lacks = NeedFixture(testbed, {"conf.bad_value"})) return *lacks;
  const pid_t pid = testbed.Workers()[0].pid;
  const Reply reply = testbed.Call("conf.bad_value");
  if (auto wrong = ExpectError(reply, ErrorCode::kHandlerFailed)) return *wrong;
  if (auto wrong = ExpectSameProcess(testbed, pid)) return *wrong;
  return Verdict::Pass();
}

Case UnencodableResultCase() {
  return {.id = "err/unencodable-result",
          .title = "a result that cannot be encoded is HANDLER_FAILED",
          .clause = "2.4.6",
          .requirement = "it fails its call, is not sent as another value, and the process stays",
          .run = UnencodableResult,
          .mutants = {{kWorker, "unencodable-is-null", "the result null"},
                      {kWorker, "exits-at-unencodable", "WORKER_LOST"}}};
}

}  // namespace

std::vector<Case> ErrorCases() {
  return {UnknownCommandCase(), HandlerExceptionCase(), UnencodableResultCase()};
}

}  // namespace snakepit::conformance
