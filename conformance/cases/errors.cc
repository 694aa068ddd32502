// Group err: errors.
#include "conformance/cases/cases.h"
#include "conformance/harness/testbed.h"

namespace snakepit::conformance {
namespace {

Verdict UnknownCommand(Testbed& testbed) {
  const pid_t pid = testbed.Workers()[0].pid;
  const Reply reply = testbed.Call("conformance.no_such_command");
  if (reply.result || reply.result.error().code != ErrorCode::kUnimplemented) {
    return Verdict::Fail("UNIMPLEMENTED", reply.Describe());
  }
  const Reply next = testbed.Call("ping");
  if (!next.result || next.info.worker_pid != pid) {
    return Verdict::Fail("the same process serves the next call", next.Describe());
  }
  return Verdict::Pass();
}

}  // namespace

std::vector<Case> ErrorCases() {
  using enum Mutant::Kind;
  return {
      {.id = "err/unknown-command",
       .title = "a command that is not there is UNIMPLEMENTED",
       .clause = "5.2.4",
       .requirement = "an unknown command is UNIMPLEMENTED, never a success, and ends nothing",
       .run = UnknownCommand,
       .mutants = {{kWorker, "unknown-is-success", "the result"},
                   {kWorker, "unknown-is-a-failure", "HANDLER_FAILED"},
                   {kWorker, "exits-at-unknown", "WORKER_LOST"}}},
  };
}

}  // namespace snakepit::conformance
