#include "src/pool/options.h"

#include <sched.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "src/process/cgroup.h"
#include "src/process/process_settings.h"
#include "src/wire/limits.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kYear = std::chrono::hours(365 * 24);
constexpr int64_t kMaxRestarts = 1'000'000;
constexpr size_t kMinDecodedBytes = size_t{64} << 10;

std::optional<int64_t> Number(milliseconds time) { return time.count(); }

template <typename T>
std::optional<int64_t> Number(T number) {
  return std::in_range<int64_t>(number) ? static_cast<int64_t>(number) : Range::kNoMaximum;
}

constexpr Range MessageRange(std::string_view name) {
  return {name, kLeastMessageLimit, kGreatestMessageLimit, Unit::kBytes, {}};
}

// A field, by its own path in PoolOptions.
#define SNAKEPIT_FIELD(path) #path
#define SNAKEPIT_VALUE(path) [](const PoolOptions& options) { return Number(options.path); }
#define SNAKEPIT_TIME(path, ...) \
  OptionRange { TimeRange(SNAKEPIT_FIELD(path), __VA_ARGS__), SNAKEPIT_VALUE(path) }
#define SNAKEPIT_RANGE(path, ...) \
  OptionRange { Range{SNAKEPIT_FIELD(path), __VA_ARGS__}, SNAKEPIT_VALUE(path) }

const OptionRange kRanges[] = {
    SNAKEPIT_TIME(adapter.start_timeout, 1),
    SNAKEPIT_TIME(adapter.end.leader_grace, 0, kLongestLeaderGrace),
    {MessageRange("adapter.transport.max_frame_bytes"),
     [](const PoolOptions& options) -> std::optional<int64_t> {
       const auto* stdio = std::get_if<StdioTransport>(&options.adapter.transport);
       return stdio == nullptr ? std::nullopt : Number(stdio->max_frame_bytes);
     }},
    {MessageRange("adapter.transport.max_message_bytes"),
     [](const PoolOptions& options) -> std::optional<int64_t> {
       const auto* grpc = std::get_if<GrpcTransport>(&options.adapter.transport);
       return grpc == nullptr ? std::nullopt : Number(grpc->max_message_bytes);
     }},
    SNAKEPIT_RANGE(workers, 0, kMaxWorkers),
    SNAKEPIT_RANGE(max_starting, 0),
    SNAKEPIT_TIME(call_timeout, 1),
    SNAKEPIT_TIME(stream_timeout, 1),
    SNAKEPIT_TIME(stop_grace, 0),
    SNAKEPIT_TIME(cancel_grace, 0),
    SNAKEPIT_TIME(queue.timeout, 0),
    SNAKEPIT_TIME(sessions.idle_timeout, 1, kYear),
    SNAKEPIT_RANGE(sessions.max_count, 1),
    SNAKEPIT_TIME(restart.max_backoff, 1),
    SNAKEPIT_TIME(restart.initial_backoff, 1),
    SNAKEPIT_RANGE(restart.burst, 1, kMaxRestarts),
    SNAKEPIT_TIME(restart.burst_window, 1),
    SNAKEPIT_RANGE(restart.sustained, 1, kMaxRestarts),
    SNAKEPIT_TIME(restart.sustained_window, 1),
    SNAKEPIT_TIME(restart.breaker_cooldown, 1),
    SNAKEPIT_TIME(health.interval, 0, kLongestTimeout, "never"),
    SNAKEPIT_TIME(health.timeout, 1),
    SNAKEPIT_TIME(recycle.max_age, 0, kYear, "never"),
    SNAKEPIT_TIME(recycle.max_idle, 0, kYear, "never"),
    SNAKEPIT_RANGE(recycle.max_calls, 0),
    SNAKEPIT_RANGE(recycle.warm_up_calls, 0),
    SNAKEPIT_RANGE(recycle.max_rss_growth_bytes, 0, Range::kNoMaximum, Unit::kBytes),
    SNAKEPIT_RANGE(recycle.max_total_rss_bytes, 0, Range::kNoMaximum, Unit::kBytes),
};

#undef SNAKEPIT_RANGE
#undef SNAKEPIT_TIME
#undef SNAKEPIT_VALUE
#undef SNAKEPIT_FIELD

// "1,000,000".
std::string Grouped(int64_t number) {
  std::string text = std::to_string(number);
  const int64_t first_digit = number < 0;
  for (auto at = static_cast<int64_t>(text.size()) - 3; at > first_digit; at -= 3) {
    text.insert(static_cast<size_t>(at), ",");
  }
  return text;
}

// The number in the largest unit in which it is whole: "24 h", "64 KiB".
std::string WithUnit(int64_t number, Unit unit) {
  struct Scale {
    int64_t factor;
    std::string_view name;
  };
  static constexpr Scale kTimes[] = {{24 * 3'600'000, " days"}, {3'600'000, " h"}, {1'000, " s"}};
  static constexpr Scale kBytes[] = {{1 << 30, " GiB"}, {1 << 20, " MiB"}, {1 << 10, " KiB"}};
  if (unit == Unit::kCount) return Grouped(number);
  if (unit == Unit::kBytes && number == kGreatestMessageLimit) return "2 GiB - 1";
  for (const Scale& scale : unit == Unit::kBytes ? kBytes : kTimes) {
    // One day reads as "24 h", the form of the headers.
    const bool is_few_days = scale.factor == kTimes[0].factor && number < 2 * scale.factor;
    if (number > 0 && number % scale.factor == 0 && !is_few_days) {
      return Grouped(number / scale.factor) + std::string(scale.name);
    }
  }
  if (unit == Unit::kBytes) return number == 0 ? "0" : Grouped(number) + " bytes";
  return Grouped(number) + " ms";
}

int UsableProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

tl::unexpected<Error> Bad(std::string_view option, std::string_view rule) {
  return Fail(ErrorCode::kInvalidArgument, std::string(option) + " must be " + std::string(rule));
}

bool HasNul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

Result<void> ValidateCommands(const Adapter& adapter) {
  if (adapter.argv.empty() || adapter.argv.front().empty()) {
    return Bad("adapter.argv", "the command line of a worker, not empty");
  }
  for (const std::string& argument : adapter.argv) {
    if (HasNul(argument)) return Bad("adapter.argv", "free of NUL characters");
  }
  if (!adapter.end.command.empty() && adapter.end.command.front().empty()) {
    return Bad("adapter.end.command", "a command line, or without an argument");
  }
  for (const std::string& argument : adapter.end.command) {
    if (HasNul(argument)) return Bad("adapter.end.command", "free of NUL characters");
  }
  if (HasNul(adapter.working_directory)) {
    return Bad("adapter.working_directory", "free of NUL characters");
  }
  return {};
}

Result<void> ValidateVariables(const Adapter& adapter) {
  for (const auto& [name, value] : adapter.environment) {
    if (name.empty() || name.find('=') != std::string::npos || HasNul(name) || HasNul(value)) {
      return Bad("a name in adapter.environment", "not empty, and free of '=' and NUL characters");
    }
  }
  for (const std::string& name : adapter.inherit) {
    if (name.empty() || name.find_first_of(std::string_view("=\0", 2)) != std::string::npos ||
        name.find('*') < name.size() - 1) {
      return Bad("a name in adapter.inherit",
                 "not empty, and free of '=', of NUL characters and of '*' but at its end");
    }
    if (std::find(std::begin(kPoolVariables), std::end(kPoolVariables), name) !=
        std::end(kPoolVariables)) {
      return Bad("a name in adapter.inherit", "none that the pool itself sets, as " + name + " is");
    }
  }
  return {};
}

// The rules that are no range of one field.
Result<void> ValidateTogether(const PoolOptions& options) {
  if (options.name.size() > 64 ||
      options.name.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
    return Bad("name", "one line of at most 64 bytes");
  }
  if (options.restart.initial_backoff > options.restart.max_backoff) {
    return Bad("restart.initial_backoff", "at most restart.max_backoff");
  }
  if (options.health.interval.count() == 0) {
    constexpr std::string_view kRule = "over 0 ms where recycle.";
    if (options.recycle.max_rss_growth_bytes > 0) {
      return Bad("health.interval", std::string(kRule) + "max_rss_growth_bytes is");
    }
    if (options.recycle.max_total_rss_bytes > 0) {
      return Bad("health.interval", std::string(kRule) + "max_total_rss_bytes is");
    }
  }
  return {};
}

// The ranges of all fields whose names begin so.
Result<void> CheckRanges(const PoolOptions& options, std::string_view prefix) {
  for (const OptionRange& option : kRanges) {
    if (!option.range.name.starts_with(prefix)) continue;
    const std::optional<int64_t> value = option.value(options);
    if (!value) continue;
    if (auto valid = option.range.Check(*value); !valid) return valid;
  }
  return {};
}

}  // namespace

std::string Range::ToString() const {
  std::string text = WithUnit(minimum, unit);
  if (!zero.empty()) text += " (" + std::string(zero) + ")";
  return text + (maximum == kNoMaximum ? " or more" : " to " + WithUnit(maximum, unit));
}

Result<void> Range::Check(int64_t value) const {
  if (value >= minimum && value <= maximum) return {};
  return Bad(name, ToString() + ", not " + WithUnit(value, unit));
}

std::span<const OptionRange> OptionRanges() { return kRanges; }

Result<void> Validate(const Adapter& adapter) {
  if (auto valid = ValidateCommands(adapter); !valid) return valid;
  if (auto valid = ValidateVariables(adapter); !valid) return valid;
  if (auto valid = CheckRanges({.adapter = adapter}, "adapter."); !valid) return valid;
  if (adapter.max_decoded_bytes != 0 && adapter.max_decoded_bytes < kMinDecodedBytes) {
    return Bad("adapter.max_decoded_bytes", "0 or at least 64 KiB");
  }
  if (auto valid = Validate(adapter.process); !valid) return valid;
  if (auto valid = Validate(adapter.cgroup); !valid) return valid;
  const auto* stdio = std::get_if<StdioTransport>(&adapter.transport);
  if (stdio != nullptr && stdio->codecs.empty()) {
    return Bad("adapter.transport.codecs", "one codec or more");
  }
  return {};
}

Result<PoolOptions> Complete(PoolOptions options) {
  if (auto valid = Validate(options.adapter); !valid) return Fail(std::move(valid.error()));
  if (auto valid = CheckRanges(options, ""); !valid) return Fail(std::move(valid.error()));
  if (auto valid = ValidateTogether(options); !valid) return Fail(std::move(valid.error()));
  if (options.workers == 0) options.workers = std::min(kMaxWorkers, 2 * UsableProcessors());
  if (options.max_starting == 0) options.max_starting = std::max(2, UsableProcessors());
  return options;
}

}  // namespace snakepit
