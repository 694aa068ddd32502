#include "src/worker/command_service.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "src/base/fd.h"
#include "src/value/utf8.h"

namespace snakepit {
namespace {

std::string WorkerId(const std::string& name) {
  const char* id = std::getenv("SNAKEPIT_WORKER_ID");
  if (id != nullptr && *id != '\0' && IsUtf8(id)) return id;
  return name + "-" + std::to_string(getpid());
}

double SecondsSinceEpoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Value::Array Texts(const std::vector<std::string>& texts) {
  return Value::Array(texts.begin(), texts.end());
}

int64_t ResidentBytes() {
  const Result<std::string> statm = ReadFile("/proc/self/statm");
  long long total_pages = 0, resident_pages = 0;
  if (!statm || std::sscanf(statm->c_str(), "%lld %lld", &total_pages, &resident_pages) != 2) {
    return 0;
  }
  return resident_pages * sysconf(_SC_PAGESIZE);
}

double CpuMilliseconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& time) { return time.tv_sec * 1e3 + time.tv_usec / 1e3; };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

}  // namespace

CommandService::CommandService(std::string name, WorkerOptions options)
    : name(std::move(name)), options(std::move(options)), worker_id(WorkerId(this->name)) {
  registry.Add("ping", [this](const Call& call) { return Ping(call); });
  registry.Add("info", [this](const Call&) { return InfoCommand(); });
}

void CommandService::Count(bool succeeded) {
  total_requests_.fetch_add(1, std::memory_order_relaxed);
  if (!succeeded) total_errors_.fetch_add(1, std::memory_order_relaxed);
}

std::chrono::milliseconds CommandService::uptime() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                               started_);
}

Value CommandService::Health(int64_t calls_in_flight) const {
  return Value::Map{{"healthy", healthy()},
                    {"worker_id", worker_id},
                    {"uptime_ms", uptime().count()},
                    {"total_requests", total_requests()},
                    {"total_errors", total_errors()},
                    {"version", options.version},
                    {"calls_in_flight", calls_in_flight}};
}

Value CommandService::Info(size_t max_message_bytes) {
  return Value::Map{{"worker_type", name},
                    {"version", options.version},
                    {"supported_commands", Texts(registry.Names())},
                    {"capabilities", Capabilities(max_message_bytes)},
                    {"stats", Stats()},
                    {"system_info", SystemInfo()}};
}

Value::Map CommandService::Capabilities(size_t max_message_bytes) const {
  return {{"streaming", "true"},
          {"sessions", "true"},
          {"max_message_bytes", std::to_string(max_message_bytes)}};
}

Value::Map CommandService::Stats() {
  const int64_t uptime_ms = uptime().count();
  return {{"requests_handled", total_requests()},
          {"requests_failed", total_errors()},
          {"uptime_ms", uptime_ms},
          {"memory_usage_bytes", ResidentBytes()},
          {"cpu_usage_percent", 100 * CpuMilliseconds() / std::max<double>(1, uptime_ms)},
          {"active_sessions", sessions.size()}};
}

Value::Map CommandService::SystemInfo() const {
  utsname system{};
  uname(&system);
  return {{"pid", std::to_string(getpid())},
          {"platform", std::string(system.sysname) + "-" + system.release + "-" + system.machine}};
}

// PROTOCOL.md 7.2.1.
Value CommandService::Ping(const Call& call) const {
  const std::string_view named = call.args().TextAt("worker_id");
  return Value::Map{{"status", "ok"},
                    {"bridge_type", name},
                    {"uptime", uptime().count() / 1e3},
                    {"requests_handled", total_requests()},
                    {"timestamp", SecondsSinceEpoch()},
                    {"pid", getpid()},
                    {"worker_id", named.empty() ? std::string_view(worker_id) : named},
                    {"echo", call.args()}};
}

// PROTOCOL.md 7.2.4.
Value CommandService::InfoCommand() const {
  return Value::Map{{"status", "ok"},
                    {"bridge_info", Value::Map{{"name", name},
                                               {"version", options.version},
                                               {"supported_commands", Texts(registry.Names())},
                                               {"uptime", uptime().count() / 1e3},
                                               {"total_requests", total_requests()}}},
                    {"system_info", SystemInfo()},
                    {"timestamp", SecondsSinceEpoch()}};
}

}  // namespace snakepit
