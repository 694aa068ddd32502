// The kill matrix: every case passes against the worker without a bug and the real pool, and each
// of its mutants fails it for the stated reason. A case that nothing can fail proves nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "conformance/cases/cases.h"
#include "conformance/harness/runner.h"
#include "conformance/harness/slowdown.h"
#include "conformance/mutants/mutant_pool.h"

namespace snakepit::conformance {
namespace {

constexpr std::chrono::seconds kMutantPatience{2};

// The bugs that a worker can have in one codec alone.
constexpr std::string_view kJsonBugs[] = {"takes-nan-tokens", "takes-lone-surrogates"};
constexpr std::string_view kMsgpackBugs[] = {"answers-in-json", "falls-back-to-json"};

bool IsPossible(const Mutant& mutant, std::optional<Codec> codec) {
  const auto has = [&](const auto& bugs) {
    return std::find(std::begin(bugs), std::end(bugs), mutant.name) != std::end(bugs);
  };
  if (codec == Codec::kMessagePack) return !has(kJsonBugs);
  return codec != Codec::kJson || !has(kMsgpackBugs);
}

struct Row {
  TransportKind transport;
  std::optional<Codec> codec;  // of a case that the judge runs itself: each
  const Case* subject;
  const Mutant* mutant;  // null: the control row
};

void AddRows(TransportKind transport, std::optional<Codec> codec, const Case& subject,
             std::vector<Row>* rows) {
  rows->push_back({transport, codec, &subject, nullptr});
  for (const Mutant& mutant : subject.mutants) {
    if (IsPossible(mutant, codec)) rows->push_back({transport, codec, &subject, &mutant});
  }
}

std::vector<Row> Rows() {
  std::vector<Row> rows;
  for (const Case& subject : AllCases()) {
    if (subject.judge != nullptr) {
      AddRows(TransportKind::kStdio, Codec::kJson, subject, &rows);
      AddRows(TransportKind::kStdio, Codec::kMessagePack, subject, &rows);
      continue;
    }
    for (const TransportKind transport : {TransportKind::kStdio, TransportKind::kGrpc}) {
      if (subject.transport && subject.transport != transport) continue;
      AddRows(transport, std::nullopt, subject, &rows);
    }
  }
  return rows;
}

std::string RowName(const testing::TestParamInfo<Row>& info) {
  const Row& row = info.param;
  std::string name = std::string(row.codec ? CodecName(*row.codec) : TransportFlag(row.transport)) +
                     "_" + std::string(row.subject->id) + "_" +
                     (row.mutant ? std::string(row.mutant->name) : "control");
  for (char& c : name) {
    if (c == '/' || c == '-') c = '_';
  }
  return name;
}

class KillMatrixTest : public testing::TestWithParam<Row> {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new ScratchFolder;
    ASSERT_TRUE(scratch_->Create());
    slowdown_ = MeasureSlowdown();
  }
  static void TearDownTestSuite() {
    delete scratch_;
    scratch_ = nullptr;
  }

  static RunOptions Options(const Row& row) {
    const bool in_worker = row.mutant && row.mutant->kind == Mutant::Kind::kWorker;
    RunOptions options;
    options.subject.transport = row.transport;
    options.subject.codec = row.codec;
    options.subject.expected_version = 2;
    options.subject.argv = {"/usr/bin/python3",
                            "-B",
                            std::getenv("MUTANT_WORKER"),
                            "--bug",
                            in_worker ? std::string(row.mutant->name) : "none",
                            "--transport",
                            std::string(TransportFlag(row.transport))};
    if (row.transport == TransportKind::kGrpc) {
      options.subject.argv.insert(options.subject.argv.end(), {"--socket", "{socket}"});
    }
    if (row.mutant && !in_worker) options.start_pool = MutantPoolStarter(row.mutant->name);
    options.slowdown = slowdown_;
    options.subject.strict = true;
    // A mutant that is silent is awaited for nothing.
    if (row.mutant) options.patience = kMutantPatience;
    return options;
  }

  // A red case that reports a worker ended by SIGKILL also reports the sender.
  static void ExpectSignalsExplained(const CaseResult& result) {
    if (result.verdict.observed.find("signal 9") == std::string::npos) return;
    const bool is_explained =
        std::any_of(result.log.begin(), result.log.end(), [](const std::string& line) {
          return line.find("the judge sends SIGKILL to") != std::string::npos ||
                 line.find("signal 9, as ") != std::string::npos ||
                 line.find("the pool did not send it") != std::string::npos;
        });
    EXPECT_TRUE(is_explained) << result.verdict.observed;
  }

  static ScratchFolder* scratch_;
  static double slowdown_;
};

ScratchFolder* KillMatrixTest::scratch_ = nullptr;
double KillMatrixTest::slowdown_ = 1;

TEST_P(KillMatrixTest, HasTheStatedOutcome) {
  const Row& row = GetParam();
  Runner runner(Options(row), *scratch_);
  // gRPC opens descriptors of its own with its first channel. They are no leak of the first row.
  Runner(Options({row.transport, row.codec, row.subject, nullptr}), *scratch_).RunOne(Canary());
  const CaseResult result = runner.RunOne(*row.subject);
  const Verdict& verdict = result.verdict;
  // A case of one codec alone.
  if (row.mutant == nullptr && verdict.status == Status::kNotApplicable && row.codec) {
    EXPECT_NE(verdict.observed.find("MessagePack"), std::string::npos) << verdict.observed;
    return;
  }
  const Status expected = row.mutant ? Status::kFail : Status::kPass;
  EXPECT_EQ(StatusName(verdict.status), StatusName(expected)) << verdict.observed;
  if (row.mutant) {
    EXPECT_NE(verdict.observed.find(row.mutant->reason), std::string::npos)
        << "the reason is not \"" << row.mutant->reason << "\": " << verdict.observed;
  }
  EXPECT_EQ(result.leaks, std::vector<std::string>());
  ExpectSignalsExplained(result);
}

INSTANTIATE_TEST_SUITE_P(Rows, KillMatrixTest, testing::ValuesIn(Rows()), RowName);

TEST(MutantsTest, EveryCaseHasOne) {
  for (const Case& subject : AllCases()) EXPECT_FALSE(subject.mutants.empty()) << subject.id;
}

TEST(MutantsTest, EveryMutantPoolIsInTheMatrix) {
  std::set<std::string_view> used;
  for (const Case& subject : AllCases()) {
    for (const Mutant& mutant : subject.mutants) used.insert(mutant.name);
  }
  for (const std::string_view bug : PoolBugs()) EXPECT_TRUE(used.contains(bug)) << bug;
}

}  // namespace
}  // namespace snakepit::conformance
