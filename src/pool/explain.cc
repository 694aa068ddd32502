#include "src/pool/explain.h"

#include <algorithm>
#include <csignal>

#include "src/base/quote.h"

namespace snakepit {
namespace {

// Many waiting calls may each get a copy.
std::string LastStartError(const PoolState& state) {
  return "; the last start that failed: " +
         CutText(state.last_start_error->message, kMostSharedTextBytes);
}

// "2 ready (1 in flight, capacity 2)"; empty: no worker is in that state.
std::string WorkersIn(WorkerState state, const Core& core) {
  int count = 0, in_flight = 0, capacity = 0;
  for (const Core::Worker& worker : core.workers()) {
    if (worker.state != state) continue;
    ++count;
    in_flight += worker.in_flight;
    capacity += worker.capacity;
  }
  if (count == 0) return "";
  std::string text = std::to_string(count) + " " + std::string(WorkerStateName(state));
  if (in_flight > 0) {
    text +=
        " (" + std::to_string(in_flight) + " in flight, capacity " + std::to_string(capacity) + ")";
  }
  return text;
}

Error LossError(const EndCall& end, const PoolOptions& options, const ProcessAccount& process) {
  Error error{.code = ErrorCode::kWorkerLost, .message = PoolPrefix(options) + process.name};
  if (end.exit) {
    error.message += " ended by " + Describe(*end.exit) + " while it had the call" +
                     KilledByText(*end.exit, process.kill_reason);
  } else {
    error.message += " closed its connection while it had the call; ";
    if (!process.kill_reason.empty())
      error.message += "it was killed, as " + process.kill_reason + "; ";
    error.message += "how its process ends was not known in time";
  }
  error.exit = end.exit;
  error.stderr_tail = process.stderr_tail;
  error.may_have_run = true;
  return error;
}

}  // namespace

std::string Milliseconds(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) +
         " ms";
}

std::string PoolPrefix(const PoolOptions& options) {
  return options.name.empty() ? "" : "pool " + options.name + ": ";
}

std::chrono::milliseconds OldestQueued(const Core& core, Core::Time now) {
  const auto oldest = core.scheduler().OldestQueued();
  if (!oldest) return std::chrono::milliseconds(0);
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - *oldest);
}

std::string QueueText(const PoolState& state) {
  const Core& core = state.core;
  const QueueOptions& limits = state.options.queue;
  std::string text = std::to_string(core.scheduler().queued()) + " of " +
                     std::to_string(limits.max_calls) + " calls queued (" +
                     std::to_string(core.scheduler().queued_bytes()) + " of " +
                     std::to_string(limits.max_bytes) + " bytes), the oldest for " +
                     Milliseconds(OldestQueued(core, state.now)) + "; the workers are";
  std::string_view separator = " ";
  for (int number = 0; number < kWorkerStates; ++number) {
    const auto worker_state = static_cast<WorkerState>(number);
    if (worker_state == WorkerState::kGone) continue;
    const std::string workers = WorkersIn(worker_state, core);
    if (workers.empty()) continue;
    text += std::string(separator) + workers;
    separator = ", ";
  }
  if (state.last_start_error && !core.roster().AllReady()) text += LastStartError(state);
  return text;
}

std::string BreakerText(const PoolState& state) {
  const Breaker& breaker = state.core.supervisor().breaker();
  const RestartOptions& limits = state.options.restart;
  std::string text = "workers are not started any more for now, as too many ended: " +
                     std::to_string(breaker.futile_ends()) + " within " +
                     Milliseconds(limits.burst_window) + " without having answered a call, " +
                     std::to_string(breaker.ends()) + " within " +
                     Milliseconds(limits.sustained_window) + " in all";
  if (breaker.state() == BreakerState::kHalfOpen) {
    text += "; one is being tried";
  } else if (breaker.timer()) {
    text += "; one is tried in " +
            Milliseconds(std::max(*breaker.timer() - state.now, Core::Time::duration(0)));
  }
  if (state.last_start_error) text += LastStartError(state);
  return text;
}

std::pair<LogLevel, std::string> BreakerNews(const PoolState& state) {
  switch (state.core.supervisor().breaker().state()) {
    case BreakerState::kClosed:
      return {LogLevel::kWarning, "the breaker is closed: workers that end are replaced again"};
    case BreakerState::kHalfOpen:
      return {LogLevel::kWarning, "the breaker is half-open: one worker is started as a probe"};
    case BreakerState::kOpen:
      break;
  }
  return {LogLevel::kError, BreakerText(state)};
}

Error RefusalError(Refusal refusal, const PoolState& state) {
  const auto error = [&state](ErrorCode code, const std::string& message) {
    return Error{.code = code, .message = PoolPrefix(state.options) + message};
  };
  switch (refusal) {
    case Refusal::kClosed:
      break;
    case Refusal::kBreakerOpen:
      return error(ErrorCode::kUnavailable, BreakerText(state));
    case Refusal::kQueueFull:
      return error(ErrorCode::kQueueFull,
                   "no worker is free and the queue is full: " + QueueText(state));
    case Refusal::kSessionBusy:
      return error(ErrorCode::kSessionBusy, "the worker of the session has no room");
    case Refusal::kSessionLost:
      return error(
          ErrorCode::kSessionLost,
          "the worker with the state of the session is gone; EndSession lets it begin anew");
  }
  return error(ErrorCode::kUnavailable, "the pool takes no more calls: it drains, or is shut down");
}

Error EndError(const EndCall& end, const PoolState& state, const ProcessAccount& process) {
  const auto error = [&state](ErrorCode code, const std::string& message) {
    return Error{.code = code, .message = PoolPrefix(state.options) + message};
  };
  switch (end.why) {
    case EndCall::Why::kQueueTimeout:
      return error(ErrorCode::kQueueTimeout,
                   "no worker came free in time, the call was not executed: " + QueueText(state));
    case EndCall::Why::kDeadlineExceeded:
      return error(ErrorCode::kDeadlineExceeded,
                   "the deadline of the call passed before a worker came free, it was not "
                   "executed: " +
                       QueueText(state));
    case EndCall::Why::kCancelled:
      return error(ErrorCode::kCancelled,
                   "the caller gave the call up while it was queued, it was not executed");
    case EndCall::Why::kShutdown:
      return error(ErrorCode::kCancelled,
                   "the pool was shut down while the call was queued, it was not executed");
    case EndCall::Why::kBreakerOpen:
      return error(ErrorCode::kUnavailable,
                   "the call was queued and is not executed: " + BreakerText(state));
    case EndCall::Why::kSessionLost:
      return error(ErrorCode::kSessionLost,
                   "the worker with the state of the session is gone, the call was not executed; "
                   "EndSession lets it begin anew");
    case EndCall::Why::kWorkerLost:
      break;
  }
  return LossError(end, state.options, process);
}

Error RefusedAsEndingError(const PoolOptions& options, std::string_view process_name) {
  return {.code = ErrorCode::kWorkerLost,
          .message = PoolPrefix(options) + std::string(process_name) +
                     " is ending, though the pool had not asked it to: it refused the call, which "
                     "was not executed"};
}

Error WithTransportError(Error error, const Error& seen) {
  error.may_have_run = seen.may_have_run;
  try {
    error.message += ": " + seen.message;
  } catch (const std::bad_alloc&) {
    // A call has its outcome all the same; the shorter text is true, too.
  }
  return error;
}

std::string KillText(KillReason why, std::string_view fault, const PoolOptions& options) {
  switch (why) {
    case KillReason::kNotStarted:
      return "it did not start";
    case KillReason::kSilent:
      return std::string(fault);
    case KillReason::kOutOfStep:
      return "it sent what the protocol does not allow" +
             (fault.empty() ? "" : ": " + std::string(fault));
    case KillReason::kOverran:
      return "it went on for over " + Milliseconds(options.cancel_grace) +
             " with a call that was given up";
    case KillReason::kConnectionClosed:
      return "it did not end within " +
             Milliseconds(std::min(Core::kExitGrace, options.stop_grace)) +
             " after it had closed its connection";
    case KillReason::kIgnoredEnd:
      return "it did not end within " + Milliseconds(options.stop_grace) + " after it was asked to";
    case KillReason::kHadCalls:
      return "the pool ends, and its calls did not within " + Milliseconds(options.stop_grace);
  }
  return "";
}

std::string KilledByText(const ExitStatus& status, std::string_view kill_reason) {
  if (status.signal != SIGKILL) return "";
  if (!kill_reason.empty()) return ", as " + std::string(kill_reason);
  return "; the pool did not send it (the kernel does when memory runs out: see its log)";
}

std::pair<LogLevel, std::string_view> ReplaceText(ReplaceReason why) {
  switch (why) {
    case ReplaceReason::kMaxAge:
      return {LogLevel::kInfo, " is replaced: it is as old as recycle.max_age allows"};
    case ReplaceReason::kMaxCalls:
      return {LogLevel::kInfo,
              " is replaced: it has had as many calls as recycle.max_calls allows"};
    case ReplaceReason::kRssGrowth:
      return {LogLevel::kInfo,
              " is replaced: its memory has grown by more than recycle.max_rss_growth_bytes"};
    case ReplaceReason::kMaxIdle:
      return {LogLevel::kInfo, " is replaced: it was idle for as long as recycle.max_idle allows"};
    case ReplaceReason::kTotalRss:
      return {LogLevel::kInfo,
              " is replaced: all workers together have more memory than "
              "recycle.max_total_rss_bytes, and it has most"};
    case ReplaceReason::kUnhealthy:
      return {LogLevel::kWarning, " is replaced: it said three times that it is not well"};
    case ReplaceReason::kRestart:
      return {LogLevel::kInfo, " is replaced: all workers are restarted"};
    case ReplaceReason::kSurplus:
      return {LogLevel::kInfo, " is to end: the pool is to have fewer workers"};
    case ReplaceReason::kOverran:
      return {LogLevel::kWarning,
              " is replaced: it went on for too long with a call that was given up; it finishes "
              "its other calls"};
    case ReplaceReason::kEnding:
      return {LogLevel::kWarning,
              " is replaced: it is ending, though the pool had not asked it to"};
  }
  return {LogLevel::kInfo, " is replaced"};
}

std::string SilenceText(const Error& error, std::string_view secret, const PoolOptions& options) {
  if (error.code == ErrorCode::kProtocolError) {
    return "its answer to a health check was none: " +
           CutText(HideSecret(error.message, secret), kMostSharedTextBytes);
  }
  return "it did not answer a health check within " + Milliseconds(options.health.timeout) +
         ": it was stopped, or hung";
}

}  // namespace snakepit
