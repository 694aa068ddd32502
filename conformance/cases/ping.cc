// Group ping: the command that every worker has.
#include "conformance/cases/cases.h"
#include "conformance/harness/testbed.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

constexpr int kManyPings = 1000;

Verdict Roundtrip(Testbed& testbed) {
  const Value args = Value::Map{{"number", 7}, {"text", "Grüße"}, {"list", Value::Array{1, 2}}};
  const Reply reply = testbed.Call("ping", args);
  if (!reply.result || reply.result->TextAt("status") != "ok") {
    return Verdict::Fail("a result with the status 'ok'", reply.Describe());
  }
  // Some workers in the field have no `echo`.
  const Value* const echo = reply.result->Find("echo");
  if (echo != nullptr && *echo != args) {
    return Verdict::Fail("`echo` is " + args.ToJson(), "`echo` is " + echo->ToJson());
  }
  return Verdict::Pass();
}

Case RoundtripCase() {
  return {
      .id = "ping/roundtrip",
      .title = "ping answers, and echoes its arguments",
      .clause = "7.2.1",
      .requirement = "the result of ping has `status` \"ok\", and its `echo`, if any, is the args",
      .run = Roundtrip,
      .mutants = {{kWorker, "wrong-echo", "`echo` is {"}, {kWorker, "no-status", "the result"}}};
}

Verdict Survives1000(Testbed& testbed) {
  const pid_t pid = testbed.Workers()[0].pid;
  for (int i = 1; i <= kManyPings; ++i) {
    const Reply reply = testbed.Call("ping", Value::Map{{"number", i}});
    const std::string number = "ping " + std::to_string(i) + ": ";
    if (!reply.result) return Verdict::Fail("1000 results", number + reply.Describe());
    if (reply.info.worker_pid != pid) {
      return Verdict::Fail("one process, " + std::to_string(pid) + ", serves all",
                           number + "served by process " + std::to_string(reply.info.worker_pid));
    }
  }
  return Verdict::Pass();
}

Case Survives1000Case() {
  return {.id = "ping/survives-1000",
          .title = "1000 pings are served by one process",
          .clause = "1.4.1",
          .requirement = "a worker serves until it is asked to end",
          .run = Survives1000,
          .mutants = {{kWorker, "exits-after-100", "WORKER_LOST"}}};
}

}  // namespace

std::vector<Case> PingCases() { return {RoundtripCase(), Survives1000Case()}; }

}  // namespace snakepit::conformance
