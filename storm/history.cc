#include "storm/history.h"

#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <utility>

namespace snakepit::storm {
namespace {

double Seconds(Time time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

Time Now() {
  return std::chrono::duration_cast<Time>(std::chrono::steady_clock::now().time_since_epoch());
}

std::string_view CommandName(Command command) {
  constexpr std::string_view kNames[] = {"work", "chunks", "remember", "flood", "garbage", "crash"};
  return kNames[static_cast<int>(command)];
}

std::string_view MethodName(Method method) {
  constexpr std::string_view kNames[] = {"Execute", "ExecuteStream", "Submit"};
  return kNames[static_cast<int>(method)];
}

std::string_view FaultKindName(FaultKind kind) {
  constexpr std::string_view kNames[] = {"kill",         "terminate", "stop",  "slow start",
                                         "failed start", "restart",   "resize"};
  return kNames[static_cast<int>(kind)];
}

Journal ParseJournal(std::string_view text) {
  Journal journal;
  // The positions of executions without an end.
  std::map<std::pair<int64_t, pid_t>, size_t> open;
  while (!text.empty()) {
    const size_t size = text.find('\n');
    const std::string line(text.substr(0, size));
    text.remove_prefix(size == std::string_view::npos ? text.size() : size + 1);
    char event[8] = "";
    long long id = 0, time = 0;
    int pid = 0, length = 0;
    if (std::sscanf(line.c_str(), "%7s %lld %d %lld%n", event, &id, &pid, &time, &length) != 4 ||
        static_cast<size_t>(length) != line.size()) {
      journal.faults.push_back(line);
      continue;
    }
    const std::string_view name = event;
    const auto key = std::pair(static_cast<int64_t>(id), static_cast<pid_t>(pid));
    if (name == "start") {
      journal.starts.push_back({.pid = pid, .time = Time(time)});
    } else if (name == "begin") {
      open[key] = journal.executions.size();
      journal.executions.push_back(
          {.id = id, .pid = pid, .begin = Time(time), .end = std::nullopt});
    } else if (const auto found = open.find(key); name == "end" && found != open.end()) {
      journal.executions[found->second].end = Time(time);
      open.erase(found);
    } else {
      journal.faults.push_back(line);
    }
  }
  return journal;
}

std::string Describe(const Call& call, Time origin) {
  std::string text = fmt::format("{:9.3f} to {:.3f} s  call {} {} {}", Seconds(call.begin - origin),
                                 Seconds(call.end - origin), call.id, MethodName(call.method),
                                 CommandName(call.command));
  if (!call.detail.empty()) text += " " + call.detail;
  if (!call.session.empty()) text += " in session " + call.session;
  text += fmt::format(", timeout {:.3f} s", Seconds(call.timeout));
  if (call.given_up_at)
    text += fmt::format(", given up at {:.3f}", Seconds(*call.given_up_at - origin));
  text +=
      call.worker < 0 ? ", no worker" : fmt::format(", worker {} (pid {})", call.worker, call.pid);
  if (call.outcomes != 1) text += fmt::format(", {} outcomes", call.outcomes);
  if (!call.error) return text + ": ok";
  return text + ": " + call.error->ToString() +
         (call.error->may_have_run ? " [may have run]" : " [did not run]");
}

std::string Describe(const Fault& fault, Time origin) {
  std::string text = fmt::format("{:9.3f} to {:.3f} s  {}", Seconds(fault.begin - origin),
                                 Seconds(fault.end - origin), FaultKindName(fault.kind));
  if (fault.worker >= 0) text += fmt::format(" of worker {} (pid {})", fault.worker, fault.pid);
  return text;
}

std::string Describe(const Execution& execution, Time origin) {
  const std::string end =
      execution.end ? fmt::format("{:.3f} s", Seconds(*execution.end - origin)) : "no end";
  return fmt::format("{:9.3f} to {}  pid {} executes call {}", Seconds(execution.begin - origin),
                     end, execution.pid, execution.id);
}

}  // namespace snakepit::storm
