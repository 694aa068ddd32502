// No case fails a worker for a liberty that PROTOCOL.md or version 1 allows. With each liberty of
// mutant_worker.py, the cases that it touches are green, and the cases that say nothing about such
// a worker are not-applicable, with the reason.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "conformance/cases/cases.h"
#include "conformance/harness/runner.h"
#include "conformance/harness/slowdown.h"

namespace snakepit::conformance {
namespace {

// A worker with the liberty passes `cases`; `not_applicable` do not apply, for the reason.
struct Row {
  const char* liberty;
  TransportKind transport;
  std::vector<std::string> cases;  // patterns
  std::vector<std::string> not_applicable;
  const char* reason;
};

const Row kRows[] = {
    {"version-1",
     TransportKind::kStdio,
     {"ver/claimed-commands", "ping/*", "err/unknown-command", "ses/hint-prefers",
      "str/unary-as-stream"},
     {"str/order", "str/empty", "str/final-once-last", "str/first-chunk-early",
      "str/reusable-after", "str/error-mid", "cra/kill9-mid-stream", "ses/state-kept",
      "ver/agreed"},
     "protocol version 1"},
    {"version-1",
     TransportKind::kGrpc,
     {"ver/claimed-commands", "ping/*", "err/unknown-command", "ses/hint-prefers", "str/order",
      "str/empty", "str/final-once-last", "str/first-chunk-early", "str/reusable-after",
      "str/unary-as-stream", "cra/kill9-mid-stream"},
     {"str/error-mid", "ses/state-kept", "ver/agreed", "auth/refuses-missing"},
     "protocol version 1"},
    {"tells-streams-apart",
     TransportKind::kGrpc,
     {"str/order"},
     {"str/unary-as-stream"},
     "ping is no stream"},
    {"no-sessions",
     TransportKind::kStdio,
     {"ver/agreed", "ses/hint-*", "ses/first-calls-agree"},
     {"ses/state-kept", "ses/isolation", "ses/end"},
     "feature `session`"},
    {"no-sessions",
     TransportKind::kGrpc,
     {"ver/agreed", "ses/hint-*", "auth/refuses-missing"},
     {"ses/state-kept", "ses/isolation", "ses/end"},
     "feature `session`"},
    {"no-streams",
     TransportKind::kStdio,
     {"ver/claimed-commands", "str/unary-as-stream", "ses/state-kept"},
     {"str/order", "str/error-mid", "str/backpressure", "can/mid-stream", "con/stalled-stream",
      "cra/kill9-mid-stream"},
     "feature `stream`"},
    {"no-streams",
     TransportKind::kGrpc,
     {"ver/claimed-commands", "str/unary-as-stream", "ses/state-kept"},
     {"str/order", "str/error-mid", "str/backpressure", "can/mid-stream", "con/stalled-stream",
      "cra/kill9-mid-stream"},
     "feature `stream`"},
    {"json-alone", TransportKind::kStdio, {"ping/*"}, {}, ""},
    {"ping-without-echo",
     TransportKind::kStdio,
     {"ping/*", "str/unary-as-stream", "ver/agreed"},
     {},
     ""},
    {"ping-without-echo",
     TransportKind::kGrpc,
     {"ping/*", "str/unary-as-stream", "ver/agreed"},
     {},
     ""},
    {"ignores-interval",
     TransportKind::kStdio,
     {"str/order", "str/reusable-after"},
     {"str/first-chunk-early"},
     "does not keep its `interval`"},
    {"ignores-interval",
     TransportKind::kGrpc,
     {"str/order", "str/reusable-after"},
     {"str/first-chunk-early"},
     "does not keep its `interval`"},
};

RunOptions Options(const Row& row) {
  RunOptions options;
  options.subject.transport = row.transport;
  options.subject.argv = {"/usr/bin/python3",
                          "-B",
                          std::getenv("MUTANT_WORKER"),
                          "--bug",
                          row.liberty,
                          "--transport",
                          std::string(TransportFlag(row.transport))};
  if (row.transport == TransportKind::kGrpc) {
    options.subject.argv.insert(options.subject.argv.end(), {"--socket", "{socket}"});
  }
  static const double slowdown = MeasureSlowdown();
  options.slowdown = slowdown;
  return options;
}

class LibertiesTest : public testing::TestWithParam<Row> {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new ScratchFolder;
    ASSERT_TRUE(scratch_->Create());
  }
  static void TearDownTestSuite() {
    delete scratch_;
    scratch_ = nullptr;
  }

  static ScratchFolder* scratch_;
};

ScratchFolder* LibertiesTest::scratch_ = nullptr;

TEST_P(LibertiesTest, AreNotHeldAgainstTheWorker) {
  const Row& row = GetParam();
  Runner runner(Options(row), *scratch_);
  runner.RunOne(Canary());  // gRPC opens descriptors of its own with its first channel
  for (const Case* const subject : SelectCases(row.cases)) {
    const CaseResult result = runner.RunOne(*subject);
    EXPECT_EQ(StatusName(result.verdict.status), "pass")
        << subject->id << ": " << result.verdict.expected << "; " << result.verdict.observed;
  }
  if (row.not_applicable.empty()) return;
  for (const Case* const subject : SelectCases(row.not_applicable)) {
    const CaseResult result = runner.RunOne(*subject);
    EXPECT_EQ(StatusName(result.verdict.status), "not-applicable")
        << subject->id << ": " << result.verdict.expected << "; " << result.verdict.observed;
    EXPECT_NE(result.verdict.observed.find(row.reason), std::string::npos)
        << subject->id << ": " << result.verdict.observed;
  }
}

// The cases in which the judge plays the pool say for themselves what they need.
TEST_P(LibertiesTest, AreNotHeldAgainstTheWorkerByTheJudgeItself) {
  const Row& row = GetParam();
  if (row.transport != TransportKind::kStdio) return;
  Runner runner(Options(row), *scratch_);
  int passed = 0;
  for (const Case& subject : AllCases()) {
    if (subject.judge == nullptr) continue;
    const CaseResult result = runner.RunOne(subject);
    const Status status = result.verdict.status;
    passed += status == Status::kPass;
    EXPECT_TRUE(status == Status::kPass || status == Status::kNotApplicable)
        << subject.id << ": " << result.verdict.expected << "; " << result.verdict.observed;
  }
  EXPECT_GT(passed, 0);
}

std::string RowName(const testing::TestParamInfo<Row>& info) {
  std::string name =
      std::string(info.param.liberty) + "_" + std::string(TransportFlag(info.param.transport));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Rows, LibertiesTest, testing::ValuesIn(kRows), RowName);

}  // namespace
}  // namespace snakepit::conformance
