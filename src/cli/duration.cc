#include "src/cli/duration.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <system_error>

namespace snakepit {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLongest = std::chrono::hours(24);

std::optional<double> MillisecondsOf(std::string_view unit) {
  if (unit == "ms") return 1;
  if (unit == "s" || unit.empty()) return 1'000;
  if (unit == "m") return 60'000;
  return std::nullopt;
}

}  // namespace

std::optional<milliseconds> ParseDuration(std::string_view text) {
  // from_chars would also take a sign, an exponent or "inf".
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + digits, number, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + digits) return std::nullopt;
  const std::optional<double> unit = MillisecondsOf(text.substr(digits));
  if (!unit) return std::nullopt;
  const double time = std::round(number * *unit);
  if (!(time >= 1 && time <= static_cast<double>(kLongest.count()))) return std::nullopt;
  return milliseconds(static_cast<int64_t>(time));
}

std::string FormatDuration(std::chrono::nanoseconds duration) {
  const double ms = std::chrono::duration<double, std::milli>(duration).count();
  if (ms < 1) return fmt::format("{:.3f} ms", ms);
  if (ms < 10) return fmt::format("{:.2f} ms", ms);
  if (ms < 100) return fmt::format("{:.1f} ms", ms);
  if (ms < 1'000) return fmt::format("{:.0f} ms", ms);
  return fmt::format("{:.2f} s", ms / 1'000);
}

std::string DurationFlag(milliseconds duration) {
  const int64_t ms = duration.count();
  if (ms % 60'000 == 0) return fmt::format("{}m", ms / 60'000);
  if (ms % 1'000 == 0) return fmt::format("{}s", ms / 1'000);
  return fmt::format("{}ms", ms);
}

}  // namespace snakepit
