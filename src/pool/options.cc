#include "src/pool/options.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

#include "src/process/cgroup.h"
#include "src/process/process_settings.h"

namespace snakepit {
namespace {

constexpr int kMaxRestarts = 1'000'000;
constexpr size_t kMinMessageBytes = 1024;
constexpr size_t kMinDecodedBytes = size_t{64} << 10;
constexpr size_t kMaxMessageBytes = (size_t{1} << 31) - 1;

constexpr std::chrono::milliseconds kLongestTtl = std::chrono::hours(365 * 24);

bool IsTime(std::chrono::milliseconds time, int64_t least_ms, std::chrono::milliseconds most) {
  return time.count() >= least_ms && time <= most;
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

Result<void> ValidateSize(std::string_view option, size_t bytes) {
  if (bytes < kMinMessageBytes || bytes > kMaxMessageBytes) {
    return Bad(option, "1 KiB to 2 GiB - 1");
  }
  return {};
}

}  // namespace

Result<void> Validate(const Adapter& adapter) {
  if (adapter.argv.empty() || adapter.argv.front().empty()) {
    return Bad("adapter.argv", "the command line of a worker, not empty");
  }
  for (const std::string& argument : adapter.argv) {
    if (HasNul(argument)) return Bad("adapter.argv", "free of NUL characters");
  }
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
  if (HasNul(adapter.working_directory)) {
    return Bad("adapter.working_directory", "free of NUL characters");
  }
  if (!IsTime(adapter.start_timeout, 1, kLongestTimeout)) {
    return Bad("adapter.start_timeout", "1 ms to 24 h");
  }
  if (adapter.max_decoded_bytes != 0 && adapter.max_decoded_bytes < kMinDecodedBytes) {
    return Bad("adapter.max_decoded_bytes", "0 or at least 64 KiB");
  }
  if (!IsTime(adapter.end.leader_grace, 0, kLongestLeaderGrace)) {
    return Bad("adapter.end.leader_grace", "0 to 2,000 ms");
  }
  if (!adapter.end.command.empty() && adapter.end.command.front().empty()) {
    return Bad("adapter.end.command", "a command line, or without an argument");
  }
  for (const std::string& argument : adapter.end.command) {
    if (HasNul(argument)) return Bad("adapter.end.command", "free of NUL characters");
  }
  if (auto valid = Validate(adapter.process); !valid) return valid;
  if (auto valid = Validate(adapter.cgroup); !valid) return valid;
  if (const auto* stdio = std::get_if<StdioTransport>(&adapter.transport)) {
    if (stdio->codecs.empty()) return Bad("adapter.transport.codecs", "one codec or more");
    return ValidateSize("adapter.transport.max_frame_bytes", stdio->max_frame_bytes);
  }
  return ValidateSize("adapter.transport.max_message_bytes",
                      std::get<GrpcTransport>(adapter.transport).max_message_bytes);
}

Result<PoolOptions> Complete(PoolOptions options) {
  if (auto valid = Validate(options.adapter); !valid) return Fail(std::move(valid.error()));
  if (options.workers == 0) options.workers = std::min(kMaxWorkers, 2 * UsableProcessors());
  if (options.workers < 0 || options.workers > kMaxWorkers) return Bad("workers", "0 to 1,000");
  if (options.max_starting == 0) options.max_starting = std::max(2, UsableProcessors());
  if (options.max_starting < 0) return Bad("max_starting", "0 or more");
  if (!IsTime(options.queue.timeout, 0, kLongestTimeout)) {
    return Bad("queue.timeout", "0 ms to 24 h");
  }
  if (!IsTime(options.call_timeout, 1, kLongestTimeout)) {
    return Bad("call_timeout", "1 ms to 24 h");
  }
  if (!IsTime(options.stream_timeout, 1, kLongestTimeout)) {
    return Bad("stream_timeout", "1 ms to 24 h");
  }
  if (!IsTime(options.stop_grace, 0, kLongestTimeout)) return Bad("stop_grace", "0 ms to 24 h");
  if (!IsTime(options.cancel_grace, 0, kLongestTimeout)) {
    return Bad("cancel_grace", "0 ms to 24 h");
  }
  if (!IsTime(options.sessions.idle_timeout, 1, kLongestTtl))
    return Bad("sessions.idle_timeout", "1 ms to 365 days");
  if (options.sessions.max_count == 0) return Bad("sessions.max_count", "over 0");
  if (options.name.size() > 64 ||
      options.name.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
    return Bad("name", "one line of at most 64 bytes");
  }
  if (!IsTime(options.health.interval, 0, kLongestTimeout)) {
    return Bad("health.interval", "0 ms (never) to 24 h");
  }
  if (!IsTime(options.health.timeout, 1, kLongestTimeout)) {
    return Bad("health.timeout", "1 ms to 24 h");
  }
  const RecycleOptions& recycle = options.recycle;
  if (!IsTime(recycle.max_age, 0, kLongestTtl)) return Bad("recycle.max_age", "0 ms to 365 days");
  if (!IsTime(recycle.max_idle, 0, kLongestTtl)) {
    return Bad("recycle.max_idle", "0 ms to 365 days");
  }
  if (recycle.max_calls < 0) return Bad("recycle.max_calls", "0 or more");
  if (recycle.warm_up_calls < 0) return Bad("recycle.warm_up_calls", "0 or more");
  if (recycle.max_rss_growth_bytes < 0) return Bad("recycle.max_rss_growth_bytes", "0 or more");
  if (recycle.max_total_rss_bytes < 0) return Bad("recycle.max_total_rss_bytes", "0 or more");
  if (options.health.interval.count() == 0) {
    constexpr std::string_view kRule = "over 0 ms where recycle.";
    if (recycle.max_rss_growth_bytes > 0) {
      return Bad("health.interval", std::string(kRule) + "max_rss_growth_bytes is");
    }
    if (recycle.max_total_rss_bytes > 0) {
      return Bad("health.interval", std::string(kRule) + "max_total_rss_bytes is");
    }
  }
  if (!IsTime(options.restart.max_backoff, 1, kLongestTimeout)) {
    return Bad("restart.max_backoff", "1 ms to 24 h");
  }
  if (!IsTime(options.restart.initial_backoff, 1, options.restart.max_backoff)) {
    return Bad("restart.initial_backoff", "over 0 ms and at most restart.max_backoff");
  }
  if (options.restart.burst < 1 || options.restart.burst > kMaxRestarts) {
    return Bad("restart.burst", "1 to 1,000,000");
  }
  if (options.restart.sustained < 1 || options.restart.sustained > kMaxRestarts) {
    return Bad("restart.sustained", "1 to 1,000,000");
  }
  if (!IsTime(options.restart.burst_window, 1, kLongestTimeout)) {
    return Bad("restart.burst_window", "1 ms to 24 h");
  }
  if (!IsTime(options.restart.sustained_window, 1, kLongestTimeout)) {
    return Bad("restart.sustained_window", "1 ms to 24 h");
  }
  if (!IsTime(options.restart.breaker_cooldown, 1, kLongestTimeout)) {
    return Bad("restart.breaker_cooldown", "1 ms to 24 h");
  }
  return options;
}

}  // namespace snakepit
