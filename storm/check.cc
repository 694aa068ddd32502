#include "storm/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

namespace snakepit::storm {
namespace {

struct Span {
  Time begin;
  Time end;

  bool Overlaps(Time from, Time to) const { return begin <= to && end >= from; }
};

using Spans = std::vector<Span>;

bool AnyOverlaps(const Spans& spans, Time from, Time to) {
  return std::any_of(spans.begin(), spans.end(),
                     [=](const Span& span) { return span.Overlaps(from, to); });
}

std::string Seconds(Time time) {
  return fmt::format("{:.3f} s", std::chrono::duration<double>(time).count());
}

// The faults of one process.
struct ProcessFaults {
  Spans ends;     // kills and crashes
  Spans garbage;  // it sent garbage
  Spans stops;
  Spans given_up;  // cancellations of its calls
};

class Checker {
 public:
  Checker(const History& history, const Limits& limits) : history_(history), limits_(limits) {
    for (const Call& call : history.calls) {
      calls_.emplace(call.id, &call);
      begins_.push_back(call.begin);
      if (call.outcomes > 0) ends_.push_back(call.end);
    }
    std::sort(begins_.begin(), begins_.end());
    std::sort(ends_.begin(), ends_.end());
    for (const Execution& execution : history.journal.executions) {
      executions_[execution.id].push_back(&execution);
    }
    CollectFaults();
  }

  std::vector<Violation> Run() {
    CheckJournal();
    for (const Call& call : history_.calls) {
      call_ = &call;
      CheckOutcome(call);
      CheckExecutions(call);
      if (call.error) {
        CheckCause(call);
      } else {
        CheckReply(call);
      }
      CheckChunks(call);
    }
    call_ = nullptr;
    CheckSessions();
    return std::move(violations_);
  }

 private:
  void Violate(std::string rule, std::string what) {
    violations_.push_back({.rule = std::move(rule), .what = std::move(what), .call = call_});
  }

  void CollectFaults() {
    for (const Fault& fault : history_.faults) {
      weak_.push_back({fault.begin, fault.end + limits_.recovery});
      ProcessFaults& process = processes_[fault.pid];
      if (fault.kind == FaultKind::kKill || fault.kind == FaultKind::kTerminate) {
        process.ends.push_back({fault.begin, fault.begin});
      }
      if (fault.kind == FaultKind::kStop) process.stops.push_back({fault.begin, fault.end});
    }
    // A command harms its worker while it is executed.
    for (const Execution& execution : history_.journal.executions) {
      const auto call = calls_.find(execution.id);
      if (call == calls_.end()) continue;
      const Command command = call->second->command;
      const Span moment = {execution.begin, execution.begin};
      if (command == Command::kCrash) processes_[execution.pid].ends.push_back(moment);
      if (command == Command::kGarbage) processes_[execution.pid].garbage.push_back(moment);
      if (command >= Command::kFlood) {
        weak_.push_back(
            {execution.begin, execution.end.value_or(execution.begin) + limits_.recovery});
      }
    }
    for (const Call& call : history_.calls) {
      if (!call.error || call.pid == 0) continue;
      const ErrorCode code = call.error->code;
      if (code == ErrorCode::kDeadlineExceeded || code == ErrorCode::kCancelled) {
        processes_[call.pid].given_up.push_back({call.end, call.end});
      }
    }
    MergeWeak();
  }

  // Joins overlapping spans, so that a binary search finds one.
  void MergeWeak() {
    std::sort(weak_.begin(), weak_.end(),
              [](const Span& a, const Span& b) { return a.begin < b.begin; });
    Spans merged;
    for (const Span& span : weak_) {
      if (!merged.empty() && span.begin <= merged.back().end) {
        merged.back().end = std::max(merged.back().end, span.end);
      } else {
        merged.push_back(span);
      }
    }
    weak_ = std::move(merged);
  }

  // True if the pool may have had fewer workers than it should.
  bool WasWeak(Time from, Time to) const {
    const auto next = std::lower_bound(weak_.begin(), weak_.end(), from,
                                       [](const Span& span, Time time) { return span.end < time; });
    return next != weak_.end() && next->Overlaps(from, to);
  }

  // Number of calls that were in flight at some time between the two.
  size_t CallsDuring(Time from, Time to) const {
    const auto begun = std::upper_bound(begins_.begin(), begins_.end(), to) - begins_.begin();
    const auto ended = std::lower_bound(ends_.begin(), ends_.end(), from) - ends_.begin();
    return static_cast<size_t>(begun - ended);
  }

  const ProcessFaults& FaultsOf(pid_t pid) const {
    static const ProcessFaults kNone;
    const auto found = processes_.find(pid);
    return found == processes_.end() ? kNone : found->second;
  }

  const std::vector<const Execution*>& ExecutionsOf(int64_t id) const {
    static const std::vector<const Execution*> kNone;
    const auto found = executions_.find(id);
    return found == executions_.end() ? kNone : found->second;
  }

  void CheckJournal() {
    for (const std::string& line : history_.journal.faults) {
      Violate("journal", "a malformed line: " + line);
    }
    const std::set<pid_t> living(history_.workers_at_end.begin(), history_.workers_at_end.end());
    for (const Execution& execution : history_.journal.executions) {
      const auto call = calls_.find(execution.id);
      call_ = call == calls_.end() ? nullptr : call->second;
      if (call_ == nullptr) {
        Violate("executed once", fmt::format("pid {} executed call {}, which was not made",
                                             execution.pid, execution.id));
      }
      // A second execution is reported elsewhere.
      const bool is_only_one = ExecutionsOf(execution.id).size() == 1;
      if (!execution.end && is_only_one && living.contains(execution.pid)) {
        Violate("executed once", fmt::format("pid {} still executes call {}, and the pool has none "
                                             "in flight",
                                             execution.pid, execution.id));
      }
    }
    call_ = nullptr;
  }

  void CheckOutcome(const Call& call) {
    if (call.outcomes != 1) {
      Violate("one outcome", fmt::format("it has {} outcomes", call.outcomes));
    }
    if (call.outcomes == 0) return;
    const Time took = call.end - call.begin;
    if (took > call.timeout + limits_.slack) {
      Violate("in time", "it took " + Seconds(took));
    }
    if (call.given_up_at && call.end > *call.given_up_at + limits_.slack) {
      Violate("in time",
              "it ended " + Seconds(call.end - *call.given_up_at) + " after it was given up");
    }
  }

  void CheckExecutions(const Call& call) {
    const auto& executions = ExecutionsOf(call.id);
    if (executions.size() > 1) {
      Violate("executed once", fmt::format("it was executed {} times", executions.size()));
    }
    if (executions.empty() && call.outcomes > 0 && !call.error) {
      Violate("executed once", "it succeeded, but no process executed it");
    }
    if (!executions.empty() && call.error && !call.error->may_have_run) {
      Violate("executed once", fmt::format("it was executed by pid {}, though its error says that "
                                           "it did not run",
                                           executions.front()->pid));
    }
    for (const Execution* execution : executions) {
      if (execution->pid == call.pid) continue;
      Violate("executed once",
              fmt::format("it was executed by pid {}, and given to {}", execution->pid, call.pid));
    }
  }

  void CheckReply(const Call& call) {
    if (call.outcomes == 0) return;
    if (call.reply_id != call.id || call.reply_pid != call.pid) {
      Violate("right reply", fmt::format("the reply is that of call {}, by pid {}", call.reply_id,
                                         call.reply_pid));
    }
  }

  void CheckChunks(const Call& call) {
    for (size_t i = 0; i < call.numbers.size(); ++i) {
      const auto wanted = static_cast<int64_t>(i);
      if (call.numbers[i] == wanted && call.indices[i] == wanted) continue;
      Violate("whole stream", fmt::format("chunk {} has the number {} and the index {}", i,
                                          call.numbers[i], call.indices[i]));
      return;
    }
    if (call.error || call.method != Method::kStream) return;
    const auto count = static_cast<int64_t>(call.numbers.size());
    if (count != call.chunks_wanted || call.chunks_reported != count) {
      Violate("whole stream",
              fmt::format("it succeeded with {} chunks and the result {}, of {} asked for", count,
                          call.chunks_reported, call.chunks_wanted));
    }
  }

  // A session has one call at a time.
  void CheckSessions() {
    CheckStrictness();
    std::map<std::pair<std::string, int64_t>, std::vector<const Call*>> sessions;
    for (const Call& call : history_.calls) {
      if (call.session.empty() || call.command != Command::kRemember || call.error) continue;
      sessions[{call.session, call.reply_pid}].push_back(&call);
    }
    for (auto& [session, calls] : sessions) {
      std::sort(calls.begin(), calls.end(),
                [](const Call* a, const Call* b) { return a->begin < b->begin; });
      for (size_t i = 1; i < calls.size(); ++i) {
        if (calls[i]->count > calls[i - 1]->count) continue;
        call_ = calls[i];
        Violate("session memory",
                fmt::format("pid {} counted {} after {} (call {})", session.second, calls[i]->count,
                            calls[i - 1]->count, calls[i - 1]->id));
      }
    }
    call_ = nullptr;
  }

  void CheckStrictness() {
    if (limits_.affinity == Affinity::kHint) return;
    std::map<std::string, const Call*> first;
    for (const Call& call : history_.calls) {
      if (call.session.empty() || call.error || call.outcomes == 0) continue;
      const Call& other = *first.emplace(call.session, &call).first->second;
      if (other.reply_pid == call.reply_pid) continue;
      call_ = &call;
      Violate("session memory", fmt::format("pid {} served the session of pid {} (call {})",
                                            call.reply_pid, other.reply_pid, other.id));
    }
    call_ = nullptr;
  }

  // --- Errors ------------------------------------------------------------------------------------

  void CheckCause(const Call& call) {
    const std::string missing = MissingCause(call);
    if (missing.empty()) return;
    Violate("error has a cause", std::string(ErrorCodeName(call.error->code)) + ", but " + missing);
  }

  // The cause that the error lacks; empty: none.
  std::string MissingCause(const Call& call) const {
    const ProcessFaults& faults = FaultsOf(call.pid);
    const Time before = call.begin - limits_.recovery;
    switch (call.error->code) {
      case ErrorCode::kWorkerLost:
        if (call.pid == 0) return "no worker had it";
        if (AnyOverlaps(faults.ends, before, call.end)) return "";
        if (AnyOverlaps(faults.garbage, before, call.end)) return "";
        if (WasReplacedForSilence(faults, before, call.end)) return "";
        if (WasStoppedForLong(faults, before, call.end)) return "";
        return "nothing was done to its worker that would end it";
      case ErrorCode::kProtocolError:
        if (AnyOverlaps(faults.garbage, before, call.end)) return "";
        return "its worker sent no garbage";
      case ErrorCode::kDeadlineExceeded:
        return MissingForDeadline(call, faults);
      case ErrorCode::kCancelled:
        if (call.given_up_at && *call.given_up_at <= call.end) return "";
        return "nobody gave it up";
      case ErrorCode::kQueueTimeout:
        if (call.end - call.begin < call.queue_timeout - limits_.resolution) {
          return "it had waited for " + Seconds(call.end - call.begin) + " only";
        }
        if (call.pid != 0) return fmt::format("pid {} had it", call.pid);
        // Other callers may keep the one worker of its session busy.
        if (!call.session.empty() && limits_.affinity == Affinity::kStrictQueue) return "";
        return WasWeak(call.begin, call.end) ? "" : "all workers were there";
      case ErrorCode::kUnavailable:
        if (call.pid != 0) return fmt::format("pid {} had it", call.pid);
        return WasWeak(call.begin, call.end) ? "" : "all workers were there";
      case ErrorCode::kSessionLost:
        return MissingForLostSession(call);
      case ErrorCode::kSessionBusy:
        if (limits_.affinity != Affinity::kStrictFailFast) return "its affinity is another";
        if (call.pid != 0) return fmt::format("pid {} had it", call.pid);
        return CallsDuring(call.begin, call.end) > 1 ? "" : "there was no other call";
      case ErrorCode::kQueueFull:
        if (call.pid != 0) return fmt::format("pid {} had it", call.pid);
        // The others are in the queue or with a worker.
        if (const size_t others = CallsDuring(call.begin, call.end) - 1;
            others < limits_.max_queued_calls) {
          return fmt::format("there were {} other calls", others);
        }
        return "";
      default:
        return "no fault of the storm has that code";
    }
  }

  // A process that had an earlier call of the session has to be gone at the end.
  std::string MissingForLostSession(const Call& call) const {
    if (limits_.affinity == Affinity::kHint) return "its affinity is another";
    if (call.pid != 0) return fmt::format("pid {} had it", call.pid);
    bool was_given = false;
    for (const Call& other : history_.calls) {
      if (other.session != call.session || other.pid == 0 || other.begin > call.end) continue;
      was_given = true;
      const auto& living = history_.workers_at_end;
      if (std::find(living.begin(), living.end(), other.pid) == living.end()) return "";
    }
    return was_given ? "its worker lives" : "no worker had the session";
  }

  // True if the process was stopped for so long that a health check timed out.
  bool WasStoppedForLong(const ProcessFaults& faults, Time from, Time to) const {
    return std::any_of(faults.stops.begin(), faults.stops.end(), [&](const Span& stop) {
      const Time found = stop.begin + limits_.health_timeout - limits_.resolution;
      return found <= to && found <= stop.end && stop.end >= from;
    });
  }

  // True if the process may have been killed because it went on with a cancelled call. Only a
  // stopped process does.
  bool WasReplacedForSilence(const ProcessFaults& faults, Time from, Time to) const {
    return std::any_of(faults.given_up.begin(), faults.given_up.end(), [&](const Span& given_up) {
      const Time grace_over = given_up.end + limits_.cancel_grace;
      return given_up.end >= from - limits_.cancel_grace && grace_over - limits_.resolution <= to &&
             AnyOverlaps(faults.stops, given_up.end, grace_over);
    });
  }

  std::string MissingForDeadline(const Call& call, const ProcessFaults& faults) const {
    if (call.end - call.begin < call.timeout - limits_.resolution) {
      return "its time had not passed, after " + Seconds(call.end - call.begin);
    }
    const auto& executions = ExecutionsOf(call.id);
    if (!executions.empty()) {
      const Time begun = executions.front()->begin;
      const bool had_time = call.begin + call.timeout - begun > call.work + limits_.slack;
      if (had_time) {
        if (AnyOverlaps(faults.stops, begun, call.end)) return "";
        if (AnyOverlaps(faults.garbage, begun - limits_.recovery, call.end)) return "";
        return "its worker began it in time and was not stopped";
      }
    }
    return WasWeak(call.begin, call.end) ? "" : "all workers were there";
  }

  const History& history_;
  const Limits& limits_;
  std::unordered_map<int64_t, const Call*> calls_;
  std::unordered_map<int64_t, std::vector<const Execution*>> executions_;
  std::unordered_map<pid_t, ProcessFaults> processes_;
  Spans weak_;
  std::vector<Time> begins_, ends_;  // the times of all calls, sorted
  const Call* call_ = nullptr;       // the call being checked
  std::vector<Violation> violations_;
};

}  // namespace

std::vector<Violation> Check(const History& history, const Limits& limits) {
  return Checker(history, limits).Run();
}

}  // namespace snakepit::storm
