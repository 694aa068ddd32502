// The reports of a run: a table as it goes, JUnit XML, and JSON.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_REPORT_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_REPORT_H_

#include <functional>
#include <string>
#include <string_view>

#include "conformance/harness/runner.h"

namespace snakepit::conformance {

// Raised by every change that could break a reader of report.json.
inline constexpr int kReportSchemaVersion = 1;

struct ReportContext {
  std::string program;  // its name in the commands that repeat a case
  Subject subject;
  double slowdown = 1;
};

// The lines of the table: "PASS  ping/roundtrip  0.12 s"; for a case that is not green also the
// reason and the command that repeats it.
std::string TableLines(const CaseResult& result, const ReportContext& context, bool colour);

// "12 passed, 1 failed, 3 not applicable: red".
std::string SummaryLine(const RunResult& run);

std::string JUnitXml(const RunResult& run, const ReportContext& context);

// One JSON document. Readers check `schema_version` first.
std::string JsonReport(const RunResult& run, const ReportContext& context);

// Writes the whole file or none. INTERNAL if it cannot be written.
Result<void> WriteFile(const std::string& path, std::string_view text);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_REPORT_H_
