#include "conformance/harness/report.h"

#include <cerrno>
#include <cstdio>
#include <fstream>

#include "src/base/fd.h"
#include "src/base/quote.h"
#include "src/value/utf8.h"

namespace snakepit::conformance {
namespace {

bool IsGreen(Status status) { return status == Status::kPass || status == Status::kNotApplicable; }

constexpr Status kStatuses[] = {Status::kPass,          Status::kFail,   Status::kWarning,
                                Status::kNotApplicable, Status::kNotRun, Status::kHarnessError};

std::string_view Label(Status status) {
  switch (status) {
    case Status::kPass:
      return "PASS";
    case Status::kFail:
      return "FAIL";
    case Status::kWarning:
      return "WARN";
    case Status::kNotApplicable:
      return "N/A";
    case Status::kNotRun:
      return "NOTRUN";
    case Status::kHarnessError:
      return "FAULT";
  }
  return "?";
}

std::string_view Colour(Status status) {
  switch (status) {
    case Status::kPass:
      return "\033[32m";
    case Status::kWarning:
      return "\033[33m";
    case Status::kNotApplicable:
      return "\033[90m";
    case Status::kHarnessError:
      return "\033[35m";
    default:
      return "\033[31m";
  }
}

std::string Seconds(std::chrono::milliseconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", std::chrono::duration<double>(time).count());
  return text;
}

int Count(const RunResult& run, Status status) {
  int count = 0;
  for (const CaseResult& result : run.results) count += result.verdict.status == status;
  return count;
}

// Valid UTF-8, without the characters that XML 1.0 cannot hold.
std::string Xml(std::string_view text) {
  const std::string line = Printable(text);
  std::string out;
  for (std::string_view rest = line; !rest.empty();) {
    const size_t size = Utf8SequenceLength(rest);
    const std::string_view character = rest.substr(0, size == 0 ? 1 : size);
    rest.remove_prefix(character.size());
    if (size == 0) {
      out += "\xef\xbf\xbd";
    } else if (character == "&") {
      out += "&amp;";
    } else if (character == "<") {
      out += "&lt;";
    } else if (character == ">") {
      out += "&gt;";
    } else if (character == "\"") {
      out += "&quot;";
    } else if (character != "\xef\xbf\xbe" && character != "\xef\xbf\xbf") {
      out += character;
    }
  }
  return out;
}

// The clause by which the worker is judged.
std::string_view Clause(const CaseResult& result) {
  const Case& subject = *result.subject;
  const bool is_version_1 = result.protocol_version == 1 && !subject.version_1_clause.empty();
  return is_version_1 ? subject.version_1_clause : subject.clause;
}

std::string Reason(const CaseResult& result, const ReportContext& context, const char* indent) {
  const std::string begin = std::string("\n") + indent;
  std::string text = "requires: " + std::string(result.subject->requirement) + " (PROTOCOL.md " +
                     std::string(Clause(result)) + ")";
  if (!result.verdict.expected.empty()) {
    text += begin + "expected: " + Printable(result.verdict.expected);
  }
  text += begin + "observed: " + Printable(result.verdict.observed);
  for (const std::string& leak : result.leaks) text += begin + "left:     " + Printable(leak);
  for (const std::string& line : result.log) text += begin + "log:      " + Printable(line);
  return text + begin +
         "repeat:   " + RepeatCommand(context.program, context.subject, result.subject->id);
}

std::string JUnitCase(const CaseResult& result, const ReportContext& context) {
  const std::string_view id = result.subject->id;
  const size_t slash = id.find('/');
  std::string xml = "    <testcase classname=\"conformance." + Xml(id.substr(0, slash)) +
                    "\" name=\"" + Xml(id.substr(slash + 1)) + "\" time=\"" +
                    Seconds(result.duration) + "\"";
  const Verdict& verdict = result.verdict;
  if (verdict.status == Status::kPass) return xml + "/>\n";
  const std::string message = " message=\"" + Xml(verdict.observed) + "\"";
  xml += ">\n";
  if (verdict.status == Status::kWarning) {
    xml += "      <system-out>" + Xml("warning: " + verdict.observed) + "</system-out>\n";
  } else if (verdict.status == Status::kNotApplicable) {
    xml += "      <skipped" + message + "/>\n";
  } else {
    const std::string element = verdict.status == Status::kFail ? "failure" : "error";
    xml += "      <" + element + message + " type=\"" + std::string(StatusName(verdict.status)) +
           "\">";
    const std::string reason = Reason(result, context, "");
    for (size_t begin = 0; begin < reason.size();) {
      const size_t end = std::min(reason.find('\n', begin), reason.size());
      xml += Xml(std::string_view(reason).substr(begin, end - begin)) + "\n";
      begin = end + 1;
    }
    xml += "</" + element + ">\n";
  }
  return xml + "    </testcase>\n";
}

Value Texts(const std::vector<std::string>& texts) {
  return Value(Value::Array(texts.begin(), texts.end()));
}

}  // namespace

std::string TableLines(const CaseResult& result, const ReportContext& context, bool colour) {
  const Status status = result.verdict.status;
  char line[128];
  std::snprintf(line, sizeof line, "%-6s  %-28.*s %6.2f s", std::string(Label(status)).c_str(),
                static_cast<int>(result.subject->id.size()), result.subject->id.data(),
                std::chrono::duration<double>(result.duration).count());
  std::string text = line;
  if (colour) text = std::string(Colour(status)) + text + "\033[0m";
  if (status == Status::kNotApplicable) text += "  " + Printable(result.verdict.observed);
  if (!IsGreen(status)) text += "\n        " + Reason(result, context, "        ");
  return text + "\n";
}

std::string SummaryLine(const RunResult& run) {
  std::string text = std::to_string(Count(run, Status::kPass)) + " passed, " +
                     std::to_string(Count(run, Status::kFail)) + " failed, " +
                     std::to_string(Count(run, Status::kNotApplicable)) + " not applicable";
  if (const int n = Count(run, Status::kWarning)) {
    text += ", " + std::to_string(n) + (n == 1 ? " warning" : " warnings");
  }
  if (const int n = Count(run, Status::kNotRun)) text += ", " + std::to_string(n) + " not run";
  if (const int n = Count(run, Status::kHarnessError)) {
    text += ", " + std::to_string(n) + " harness errors";
  }
  return text + ": " + std::string(OutcomeName(run.outcome));
}

std::string JUnitXml(const RunResult& run, const ReportContext& context) {
  const Subject& subject = context.subject;
  std::string suite = "conformance." + std::string(TransportFlag(subject.transport));
  if (subject.transport == TransportKind::kStdio) suite += "." + CodecFlag(subject);
  const int errors = Count(run, Status::kNotRun) + Count(run, Status::kHarnessError);
  std::chrono::milliseconds time{0};
  std::string cases;
  for (const CaseResult& result : run.results) {
    time += result.duration;
    cases += JUnitCase(result, context);
  }
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"" +
         Xml(suite) + "\" tests=\"" + std::to_string(run.results.size()) + "\" failures=\"" +
         std::to_string(Count(run, Status::kFail)) + "\" errors=\"" + std::to_string(errors) +
         "\" skipped=\"" + std::to_string(Count(run, Status::kNotApplicable)) + "\" time=\"" +
         Seconds(time) + "\">\n" + cases + "  </testsuite>\n</testsuites>\n";
}

std::string JsonReport(const RunResult& run, const ReportContext& context) {
  Value::Array cases;
  Value::Map summary;
  for (const Status status : kStatuses) {
    summary[std::string(StatusName(status))] = Count(run, status);
  }
  for (const CaseResult& result : run.results) {
    const Case& subject = *result.subject;
    cases.push_back(Value::Map{
        {"id", subject.id},
        {"title", subject.title},
        {"clause", Clause(result)},
        {"requirement", subject.requirement},
        {"status", StatusName(result.verdict.status)},
        {"expected", result.verdict.expected},
        {"observed", result.verdict.observed},
        {"leaks", Texts(result.leaks)},
        {"log", Texts(result.log)},
        {"duration_ms", result.duration.count()},
        {"repeat", RepeatCommand(context.program, context.subject, subject.id)},
    });
  }
  const Value report = Value::Map{
      {"schema_version", kReportSchemaVersion},
      {"subject", Value::Map{{"transport", TransportFlag(context.subject.transport)},
                             {"codec", CodecFlag(context.subject)},
                             {"argv", Texts(context.subject.argv)}}},
      {"slowdown", context.slowdown},
      {"outcome", OutcomeName(run.outcome)},
      {"exit_code", static_cast<int>(run.outcome)},
      {"summary", std::move(summary)},
      {"cases", std::move(cases)},
  };
  return PrintableJson(report.ToJson()) + "\n";
}

Result<void> WriteFile(const std::string& path, std::string_view text) {
  const std::string unfinished = path + ".part";
  std::ofstream file(unfinished, std::ios::binary);
  file << text;
  file.close();
  if (!file || std::rename(unfinished.c_str(), path.c_str()) != 0) {
    return Fail(ErrnoError("cannot write " + path, errno));
  }
  return {};
}

}  // namespace snakepit::conformance
