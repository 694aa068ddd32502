// Group auth: the token of a worker that serves gRPC.
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "conformance/cases/cases.h"
#include "conformance/cases/fixture.h"
#include "conformance/cases/secrets.h"
#include "conformance/harness/processes.h"
#include "conformance/harness/raw_grpc.h"
#include "src/base/quote.h"

namespace snakepit::conformance {

using enum Mutant::Kind;

namespace {

// Four of the six methods make a call.
constexpr int kCallsOfEachMethod = 4;

// A call without the token, or with a wrong one, must have no effect.
Verdict RefusesMissing(Testbed& testbed) {
  const auto taken = StartAndTakeSecrets(testbed);
  if (auto* verdict = std::get_if<Verdict>(&taken)) return *verdict;
  const Secrets& secrets = std::get<Secrets>(taken);
  if (auto lacks = NeedFixture(testbed, {})) return *lacks;
  const auto first = testbed.CheckHealth(0, testbed.Patience());
  if (!first) return Verdict::Fail("the worker answers for its health", Describe(first));
  for (const RpcOutcome& rpc : CallEachMethod(secrets.target, secrets.token, testbed.Patience())) {
    if (rpc.status != "OK") {
      return Verdict::Fail("with the token every method is served",
                           rpc.method + ": " + rpc.status + " " + rpc.text);
    }
  }
  const int64_t calls = first->total_requests + kCallsOfEachMethod;
  if (const auto health = AwaitCallsEnded(testbed, calls);
      !health || health->total_requests != calls) {
    return Verdict::Fail(std::to_string(calls) + " calls ended", Describe(health));
  }
  std::string wrong_token = secrets.token;
  wrong_token.back() = wrong_token.back() == 'a' ? 'b' : 'a';
  const std::optional<std::string> others[] = {std::nullopt, "", wrong_token,
                                               secrets.token.substr(1), secrets.token + "a"};
  std::optional<std::string> text;
  for (const auto& other : others) {
    for (const RpcOutcome& rpc : CallEachMethod(secrets.target, other, testbed.Patience())) {
      const std::string seen = rpc.method +
                               (other ? " with a wrong token: " : " without a token: ") +
                               rpc.status + " " + rpc.text;
      if (rpc.status != "UNAUTHENTICATED") return Verdict::Fail("UNAUTHENTICATED", seen);
      if (rpc.text.find(secrets.token) != std::string::npos) {
        return Verdict::Fail("the refusal does not reveal the token", seen);
      }
      if (!text) text = rpc.text;
      if (*text != rpc.text) {
        return Verdict::Fail("the same text for every refusal, '" + *text + "'", seen);
      }
    }
  }
  const auto after = testbed.CheckHealth(0, testbed.Patience());
  if (!after) return Verdict::Fail("the worker answers for its health", Describe(after));
  if (after->total_requests != calls) {
    return Verdict::Fail("none of the refused calls has run",
                         std::to_string(after->total_requests - calls) + " ran");
  }
  return Verdict::Pass();
}

Case RefusesMissingCase() {
  return {.id = "auth/refuses-missing",
          .title = "a call without the token is refused and does not run",
          .clause = "6.13.3",
          .requirement = "every method answers UNAUTHENTICATED, with one text, and nothing runs",
          .workers = 0,
          .transport = TransportKind::kGrpc,
          .run = RefusesMissing,
          .mutants = {{kWorker, "asks-no-token", "Execute without a token: OK"},
                      {kWorker, "health-asks-no-token", "Health without a token: OK"},
                      {kWorker, "takes-part-of-token", "with a wrong token: OK"},
                      {kWorker, "runs-and-then-refuses", " ran"},
                      {kWorker, "refusal-tells-token", "it is [the worker's token]"}}};
}

// The pool itself hides the token in texts that pass through it.
bool Tells(std::string_view text, const std::string& token) {
  return text.find(token) != std::string_view::npos ||
         text.find(kHiddenSecret) != std::string_view::npos;
}

Verdict NotVisible(Testbed& testbed) {
  const auto taken = StartAndTakeSecrets(testbed);
  if (auto* verdict = std::get_if<Verdict>(&taken)) return *verdict;
  const std::string& token = std::get<Secrets>(taken).token;
  if (auto lacks = NeedFixture(testbed, {})) return *lacks;
  const Reply failed = testbed.Call("conformance.no_such_command");
  if (Tells(failed.Describe(), token)) {
    return Verdict::Fail("no error reveals the token", failed.Describe());
  }
  for (const Process& process : ListProcesses()) {
    const std::string file = "/proc/" + std::to_string(process.pid) + "/cmdline";
    if (ReadAll(file).find(token) != std::string::npos) {
      return Verdict::Fail("no command line reveals the token", Describe(process) + " does");
    }
  }
  testbed.StopPool();
  for (const std::string& line : testbed.LogLines()) {
    if (Tells(line, token)) {
      return Verdict::Fail("no line of the log or of stderr reveals the token", line);
    }
  }
  return Verdict::Pass();
}

Case NotVisibleCase() {
  return {
      .id = "auth/token-not-visible",
      .title = "no command line and no log reveals the token",
      .clause = "6.13.4",
      .requirement = "neither pool nor worker writes the token anywhere",
      .workers = 0,
      .transport = TransportKind::kGrpc,
      .run = NotVisible,
      .mutants = {{kWorker, "logs-token", "token"}, {kWorker, "token-in-command-line", "does"}}};
}

}  // namespace

std::vector<Case> TokenCases() { return {RefusesMissingCase(), NotVisibleCase()}; }

}  // namespace snakepit::conformance
