// The time of day in messages. PROTOCOL.md 2.3.1 and 2.4.4.
#ifndef SNAKEPIT_WIRE_TIMESTAMP_H_
#define SNAKEPIT_WIRE_TIMESTAMP_H_

#include <ctime>
#include <string_view>

namespace snakepit {

// ISO 8601 in UTC, to the second; valid until the thread calls it again.
inline std::string_view TimestampNow() {
  thread_local std::time_t second = -1;
  thread_local char text[sizeof "2026-01-01T00:00:00Z"];
  const std::time_t now = std::time(nullptr);
  if (now != second) {
    std::tm utc{};
    gmtime_r(&now, &utc);
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    second = now;
  }
  return text;
}

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_TIMESTAMP_H_
