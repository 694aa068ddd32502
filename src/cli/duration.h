// Durations as people write them: "30s", "250ms", "2m".
#ifndef SNAKEPIT_SRC_CLI_DURATION_H_
#define SNAKEPIT_SRC_CLI_DURATION_H_

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace snakepit {

// A decimal number, with or without a fraction, and a unit: ms, s or m; without one, seconds.
// Nothing for anything else, and for what is under 1 ms or over 24 h.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);

// For people, with three digits or so: "0.093 ms", "131 ms", "4.20 s".
std::string FormatDuration(std::chrono::nanoseconds duration);

// As a flag takes it: "250ms", "30s", "2m".
std::string DurationFlag(std::chrono::milliseconds duration);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_DURATION_H_
