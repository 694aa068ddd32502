// What a run says: a table as it goes, JUnit XML, and JSON.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_REPORT_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_REPORT_H_

#include <functional>
#include <string>
#include <string_view>

#include "conformance/harness/runner.h"

namespace snakepit::conformance {

// Goes up with every change that a reader of report.json could stumble over.
inline constexpr int kReportSchemaVersion = 1;

struct ReportContext {
  std::string program;  // for the commands that repeat a case
  Subject subject;
  double slowdown = 1;
};

// The lines of the table: "PASS  ping/roundtrip  0.12 s", and for what is not green the reason and
// the command that repeats it.
std::string TableLines(const CaseResult& result, const ReportContext& context, bool colour);

// "12 passed, 1 failed, 3 not applicable: red".
std::string SummaryLine(const RunResult& run);

std::string JUnitXml(const RunResult& run, const ReportContext& context);

// One JSON document, `schema_version` first of all to be looked at.
std::string JsonReport(const RunResult& run, const ReportContext& context);

// INTERNAL when it cannot be written. The file is there whole or not at all.
Result<void> WriteFile(const std::string& path, std::string_view text);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_REPORT_H_
