// Durations as people write them: "30s", "250ms", "2m".
#ifndef SNAKEPIT_CLI_DURATION_H_
#define SNAKEPIT_CLI_DURATION_H_

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace snakepit {

// Reads a decimal number, with or without a fraction, and a unit: ms, s (also without a unit) or m.
// Nothing for any other text, or for a time below 1 ms or above 24 h.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);

// A text for people, with about three digits: "0.093 ms", "131 ms", "4.20 s".
std::string FormatDuration(std::chrono::nanoseconds duration);

// The value of a flag: "250ms", "30s", "2m".
std::string DurationFlag(std::chrono::milliseconds duration);

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_DURATION_H_
