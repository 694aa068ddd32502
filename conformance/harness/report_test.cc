#include "conformance/harness/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

namespace snakepit::conformance {
namespace {

const Case kCase = {.id = "str/order",
                    .title = "chunks come in order",
                    .clause = "0.3",
                    .requirement = "in order",
                    .run = nullptr,
                    .mutants = {}};

const ReportContext kContext = {.program = "conformance",
                                .subject = {.argv = {"./my worker", "--bug", "a'b"}}};

RunResult RunOf(Verdict verdict) {
  CaseResult result;
  result.subject = &kCase;
  result.verdict = std::move(verdict);
  RunResult run{.outcome = Outcome::kRed, .results = {}};
  run.results.push_back(std::move(result));
  run.outcome = Judge(run.results);
  return run;
}

TEST(ReportTest, AFailureTellsTheReasonAndHowToRepeatIt) {
  const RunResult run = RunOf(Verdict::Fail("chunk 1", "chunk 2"));
  const std::string text = TableLines(run.results[0], kContext, false);
  EXPECT_NE(text.find("FAIL"), std::string::npos);
  EXPECT_NE(text.find("PROTOCOL.md 0.3"), std::string::npos);
  EXPECT_NE(text.find("expected: chunk 1\n"), std::string::npos);
  EXPECT_NE(text.find("observed: chunk 2\n"), std::string::npos);
  EXPECT_NE(text.find("conformance run --transport stdio --case str/order -- './my worker' --bug "
                      "'a'\\''b'\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find('\033'), std::string::npos);
}

TEST(ReportTest, AWorkerOfVersion1IsToldOfAClauseOfVersion1) {
  Case subject = kCase;
  subject.clause = "6.3.3";
  subject.version_1_clause = "4.5.2";
  RunResult run = RunOf(Verdict::Fail("a", "b"));
  run.results[0].subject = &subject;
  for (const auto& [version, clause] : {std::pair{1, "4.5.2"}, std::pair{2, "6.3.3"}}) {
    run.results[0].protocol_version = version;
    EXPECT_NE(
        TableLines(run.results[0], kContext, false).find(std::string("PROTOCOL.md ") + clause),
        std::string::npos);
    const auto report = Value::FromJson(JsonReport(run, kContext));
    ASSERT_TRUE(report);
    EXPECT_EQ(report->Find("cases")->get_if<Value::Array>()->at(0).TextAt("clause"), clause);
  }
}

TEST(ReportTest, TheCommandThatRepeatsACaseHasTheFlagsOfTheRun) {
  ReportContext context = kContext;
  context.subject.expected_version = 2;
  context.subject.variables = {.environment = {{"A", "x y"}}, .inherit = {"HF_*"}};
  const RunResult run = RunOf(Verdict::Fail("a", "b"));
  EXPECT_NE(TableLines(run.results[0], context, false)
                .find("run --transport stdio --expect-version 2 --env 'HF_*' --env 'A=x y' --case"),
            std::string::npos);
}

TEST(ReportTest, EachStatusHasItsPlaceInJUnit) {
  EXPECT_EQ(JUnitXml(RunOf(Verdict::Pass()), kContext).find("<failure"), std::string::npos);
  EXPECT_NE(JUnitXml(RunOf(Verdict::Fail("a", "b")), kContext).find("<failure"), std::string::npos);
  EXPECT_NE(JUnitXml(RunOf(Verdict::NotApplicable("c")), kContext).find("<skipped"),
            std::string::npos);
  EXPECT_NE(JUnitXml(RunOf(Verdict::HarnessError("d")), kContext).find("<error"),
            std::string::npos);
  EXPECT_NE(JUnitXml(RunOf({Status::kNotRun, "", "e"}), kContext).find("errors=\"1\""),
            std::string::npos);
}

TEST(ReportTest, JUnitIsFreeOfWhatXmlCannotHold) {
  const std::string xml =
      JUnitXml(RunOf(Verdict::Fail("<&>", std::string("\x01\xff\"\xef\xbf\xbf\n", 7))), kContext);
  EXPECT_NE(xml.find("&lt;&amp;&gt;"), std::string::npos) << xml;
  EXPECT_EQ(xml.find('\x01'), std::string::npos);
  EXPECT_EQ(xml.find('\xff'), std::string::npos);
  EXPECT_EQ(xml.find("\xef\xbf\xbf"), std::string::npos);
}

// The texts of a worker are shown on terminals, and by readers of the reports.
TEST(ReportTest, NothingThatAWorkerSaysIsObeyedByATerminal) {
  const std::string evil = "a\x1b[2K\n\u009b1A\u202e\u2028";
  RunResult run = RunOf(Verdict::Fail(evil, evil));
  run.results[0].leaks = {evil};
  run.results[0].log = {evil};
  const std::string json = JsonReport(run, kContext);
  for (const std::string& text :
       {TableLines(run.results[0], kContext, false), JUnitXml(run, kContext), json}) {
    for (const char* part : {"\x1b", "\u009b", "\u202e", "\u2028", "[2K\n"}) {
      EXPECT_EQ(text.find(part), std::string::npos) << text;
    }
  }
  const auto report = Value::FromJson(json);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->Find("cases")->get_if<Value::Array>()->at(0).TextAt("observed"), evil);
}

TEST(ReportTest, JsonHasASchemaVersionAndEveryCase) {
  const auto report = Value::FromJson(JsonReport(RunOf(Verdict::Fail("a", "b")), kContext));
  ASSERT_TRUE(report) << report.error().ToString();
  EXPECT_EQ(*report->Find("schema_version"), Value(kReportSchemaVersion));
  EXPECT_EQ(*report->Find("exit_code"), Value(1));
  const Value& first = report->Find("cases")->get_if<Value::Array>()->at(0);
  EXPECT_EQ(first.TextAt("id"), "str/order");
  EXPECT_EQ(first.TextAt("status"), "fail");
  EXPECT_EQ(first.TextAt("observed"), "b");
}

TEST(ReportTest, OnlyAPassMakesARunGreen) {
  EXPECT_EQ(RunOf(Verdict::Pass()).outcome, Outcome::kGreen);
  EXPECT_EQ(RunOf(Verdict::Fail("", "")).outcome, Outcome::kRed);
  EXPECT_EQ(RunOf({Status::kNotRun, "", ""}).outcome, Outcome::kRed);
  EXPECT_EQ(RunOf(Verdict::NotApplicable("")).outcome, Outcome::kNothingRan);
  EXPECT_EQ(RunOf(Verdict::HarnessError("")).outcome, Outcome::kHarnessFault);
  EXPECT_EQ(Judge({}), Outcome::kNothingRan);
}

}  // namespace
}  // namespace snakepit::conformance
