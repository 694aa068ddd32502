#include "storm/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>

namespace snakepit::storm {
namespace {

constexpr int kShownOfEachRule = 5;
constexpr size_t kShownAround = 12;
// Faults of this time before a call are shown with it.
constexpr Time kShownBefore = std::chrono::seconds(3);

std::string ErrorCounts(const Tally& tally) {
  std::string text;
  for (size_t code = 0; code < tally.errors.size(); ++code) {
    if (tally.errors[code] == 0) continue;
    text += fmt::format(", {} {}", tally.errors[code], ErrorCodeName(static_cast<ErrorCode>(code)));
  }
  return text;
}

std::string FaultCounts(const Faults& faults) {
  std::string text;
  const auto counts = faults.counts();
  for (int kind = 0; kind < kFaultKinds; ++kind) {
    text += fmt::format(", {} {}", counts[kind], FaultKindName(static_cast<FaultKind>(kind)));
  }
  const auto commands = faults.command_counts();
  for (int command = static_cast<int>(Command::kFlood); command < kCommands; ++command) {
    text += fmt::format(", {} {}", commands[command], CommandName(static_cast<Command>(command)));
  }
  return text.substr(2);
}

}  // namespace

Report::Report(const StormOptions& options) : options_(options), begin_(Now()) {}

double Report::SecondsPassed() const {
  return std::chrono::duration<double>(Now() - begin_).count();
}

void Report::Progress(const Tally& tally, const Faults& faults, const PoolStats& stats) const {
  std::fprintf(
      stderr, "%s\n",
      fmt::format("storm: {} {:.0f} s: {} calls, {} ok{}; faults: {}; {} of {} workers "
                  "ready",
                  TransportName(options_.transport), SecondsPassed(), tally.calls, tally.succeeded,
                  ErrorCounts(tally), FaultCounts(faults), stats.workers_ready, stats.workers)
          .c_str());
}

void Report::Fault(std::string_view what) {
  ++faults_;
  std::printf("FAULT  %.*s\n", static_cast<int>(what.size()), what.data());
  std::fflush(stdout);
}

void Report::Violations(const History& history, const std::vector<Violation>& violations) {
  std::map<std::string, int> counts;
  for (const Violation& violation : violations) {
    ++faults_;
    if (++counts[violation.rule] > kShownOfEachRule) continue;
    std::printf("FAULT  %s: %s\n", violation.rule.c_str(), violation.what.c_str());
    if (violation.call == nullptr) continue;
    std::printf("%s\n", Describe(*violation.call, begin_).c_str());
    for (const std::string& line : LinesAround(*violation.call, history)) {
      std::printf("%s\n", line.c_str());
    }
  }
  for (const auto& [rule, count] : counts) {
    if (count > kShownOfEachRule) std::printf("FAULT  %s: %d in all\n", rule.c_str(), count);
  }
  std::fflush(stdout);
}

// Events that may explain the call, in order of their begin: its executions, faults of its worker,
// and harmful or cancelled calls of that worker.
std::vector<std::string> Report::LinesAround(const Call& call, const History& history) const {
  std::vector<std::pair<Time, std::string>> lines;
  const Time end = call.outcomes == 0 ? Now() : call.end;
  const auto is_near = [&](const auto& event) {
    return event.begin <= end && event.end >= call.begin - kShownBefore;
  };
  for (const storm::Fault& fault : history.faults) {
    if (!is_near(fault)) continue;
    if (call.pid == 0 || fault.pid == 0 || fault.pid == call.pid) {
      lines.emplace_back(fault.begin, Describe(fault, begin_));
    }
  }
  for (const Call& other : history.calls) {
    if (&other == &call || other.pid != call.pid || call.pid == 0 || !is_near(other)) continue;
    // A worker that goes on with a cancelled call is replaced.
    const bool was_given_up = call.error && call.error->code == ErrorCode::kWorkerLost &&
                              other.error &&
                              (other.error->code == ErrorCode::kDeadlineExceeded ||
                               other.error->code == ErrorCode::kCancelled);
    if (other.command >= Command::kFlood || was_given_up) {
      lines.emplace_back(other.begin, Describe(other, begin_));
    }
  }
  std::sort(lines.begin(), lines.end());
  if (lines.size() > kShownAround) lines.erase(lines.begin(), lines.end() - kShownAround);
  for (const Execution& execution : history.journal.executions) {
    if (execution.id == call.id) {
      lines.emplace_back(execution.begin, Describe(execution, begin_));
    }
  }
  std::sort(lines.begin(), lines.end());
  std::vector<std::string> texts;
  for (auto& [time, text] : lines) texts.push_back(std::move(text));
  return texts;
}

void Report::Summarise(const Tally& tally, const Faults& faults,
                       const std::vector<std::string>& figures, std::string_view log) const {
  std::printf("%s: %lld calls in %.1f s, %lld ok%s\n", TransportName(options_.transport).data(),
              static_cast<long long>(tally.calls), SecondsPassed(),
              static_cast<long long>(tally.succeeded), ErrorCounts(tally).c_str());
  std::printf("  faults: %s\n", FaultCounts(faults).c_str());
  for (const std::string& line : figures) std::printf("  %s\n", line.c_str());
  if (is_red()) {
    std::printf("  the end of the pool's log:\n%.*s", static_cast<int>(log.size()), log.data());
    std::printf("RED: seed %llu; the same storm again:\n  %s\n",
                static_cast<unsigned long long>(options_.seed), options_.repeat.c_str());
  } else {
    std::printf("GREEN: seed %llu\n", static_cast<unsigned long long>(options_.seed));
  }
  std::fflush(stdout);
}

}  // namespace snakepit::storm
