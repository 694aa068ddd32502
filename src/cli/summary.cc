#include "src/cli/summary.h"

#include <fmt/format.h>

#include "src/cli/duration.h"

namespace snakepit {

void Summary::AddFailure(const Error& error) {
  failures.emplace(error.code, error);
  ++failed_by_code[error.code];
  ++failed;
}

void Summary::Merge(const Summary& other) {
  latencies.Merge(other.latencies);
  failures.insert(other.failures.begin(), other.failures.end());
  for (const auto& [code, count] : other.failed_by_code) failed_by_code[code] += count;
  failed += other.failed;
  cut_short += other.cut_short;
}

std::string Summary::ToText(std::chrono::nanoseconds elapsed) const {
  std::string text = fmt::format("summary: {} ok, {} failed", latencies.count(), failed);
  std::string_view separator = " (";
  for (const auto& [code, count] : failed_by_code) {
    text += fmt::format("{}{} {}", separator, count, ErrorCodeName(code));
    separator = ", ";
  }
  if (failed > 0) text += ')';
  if (cut_short > 0) text += fmt::format(", {} cut short", cut_short);
  if (latencies.count() > 0) {
    text += fmt::format("; p50 {}, p99 {}", FormatDuration(latencies.Percentile(50)),
                        FormatDuration(latencies.Percentile(99)));
  }
  const double seconds = std::chrono::duration<double>(elapsed).count();
  const int64_t ended = latencies.count() + failed;
  if (ended > 0 && seconds > 0) {
    const double rate = static_cast<double>(ended) / seconds;
    text += fmt::format("; {:.{}f} calls/s", rate, rate < 10 ? 1 : 0);
  }
  return text;
}

}  // namespace snakepit
