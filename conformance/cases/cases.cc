#include "conformance/cases/cases.h"

#include <fnmatch.h>

#include <algorithm>

#include "conformance/harness/testbed.h"

namespace snakepit::conformance {
namespace {

Verdict AnswersLikeACanary(Testbed& testbed) {
  const Reply reply = testbed.Call("ping");
  if (reply.result && reply.result->TextAt("status") == "canary") return Verdict::Pass();
  return Verdict::Fail("the status 'canary'", reply.Describe());
}

}  // namespace

const std::vector<Case>& AllCases() {
  static const std::vector<Case>* const cases = [] {
    auto* all = new std::vector<Case>;
    for (auto& group : {ClaimCases(), VersionCases(), TokenCases(), PingCases(), ValueCases(),
                        ErrorCases(), StreamCases(), CancelCases(), DeadlineCases(), SessionCases(),
                        ConcurrencyCases(), CrashCases(), HandshakeCases(), FramingCases(),
                        SizeCases(), MessageCases(), ShutdownCases()}) {
      all->insert(all->end(), group.begin(), group.end());
    }
    return all;
  }();
  return *cases;
}

const Case& Canary() {
  static const Case* const canary = new Case{
      .id = "canary/must-fail",
      .title = "a case that must fail",
      .clause = "7.2.1",
      .requirement = "ping answers with the status 'canary', which no worker does",
      .workers = 1,
      .run = AnswersLikeACanary,
      .mutants = {},
  };
  return *canary;
}

const Case* FindCase(std::string_view id) {
  for (const Case& candidate : AllCases()) {
    if (candidate.id == id) return &candidate;
  }
  return nullptr;
}

std::vector<const Case*> SelectCases(const std::vector<std::string>& patterns) {
  std::vector<const Case*> selected;
  for (const Case& candidate : AllCases()) {
    const std::string id(candidate.id);
    const bool matches = std::any_of(patterns.begin(), patterns.end(), [&id](const auto& pattern) {
      return fnmatch(pattern.c_str(), id.c_str(), 0) == 0;
    });
    if (matches || patterns.empty()) selected.push_back(&candidate);
  }
  return selected;
}

}  // namespace snakepit::conformance
