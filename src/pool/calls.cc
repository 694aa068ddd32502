// Pool::Impl: calls, from submission to their one outcome.
#include <cxxabi.h>

#include <algorithm>
#include <asio/post.hpp>
#include <exception>
#include <utility>

#include "src/base/quote.h"
#include "src/pool/options.h"
#include "src/pool/pool_impl.h"
#include "src/transport/outcome.h"
#include "src/value/json.h"
#include "src/value/memory.h"
#include "src/wire/limits.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// A call that the transport threw out of: there is no memory, say. Nobody knows how far it has got.
template <typename T>
CallOutcome<T> Thrown(const std::exception& error) {
  return {
      Fail(MayHaveRun({.code = ErrorCode::kInternal,
                       .message = std::string("the call failed in the pool: ") + error.what()})),
      AfterCall::kUnusable};
}

// Between two looks of a waiting thread at the core's clock.
constexpr std::chrono::milliseconds kTick{10};

}  // namespace

Result<CallRequest> Pool::Impl::MakeRequest(std::string_view command, const Value& args,
                                            const CallOptions& options,
                                            std::chrono::milliseconds default_timeout) const {
  if (command.empty()) return Fail(ErrorCode::kInvalidArgument, "the command is empty");
  if (!args.is_map() && !args.is_null()) {
    return Fail(ErrorCode::kInvalidArgument,
                "the arguments of a command are a map, not " + BriefJson(args));
  }
  const auto timeout = options.timeout.value_or(default_timeout);
  if (timeout.count() < 1 || timeout > kLongestTimeout) {
    return Fail(ErrorCode::kInvalidArgument,
                "a timeout is 1 ms to 24 h, not " + Milliseconds(timeout));
  }
  const auto queue_timeout = options.queue_timeout.value_or(std::chrono::milliseconds(0));
  if (queue_timeout.count() < 0 || queue_timeout > kLongestTimeout) {
    return Fail(ErrorCode::kInvalidArgument,
                "a queue timeout is 0 ms to 24 h, not " + Milliseconds(queue_timeout));
  }
  if (options.session &&
      (options.session->empty() || options.session->size() > kMaxSessionIdBytes)) {
    return Fail(ErrorCode::kInvalidArgument, "a session id has 1 to 256 bytes, this one has " +
                                                 std::to_string(options.session->size()));
  }
  return CallRequest{.command = command,
                     .args = &args,
                     .session_id = options.session ? *options.session : std::string_view(),
                     .deadline = steady_clock::now() + timeout,
                     .stop = options.stop};
}

Result<void> Pool::Impl::SubmitLocked(const CallRequest& request, size_t bytes,
                                      const CallOptions& options, PendingCall* pending) {
  if (request.stop.stop_requested()) {
    ++refused_;
    return Fail(ErrorCode::kCancelled, "the caller had given the call up before it was made");
  }
  const SteadyTime now = steady_clock::now();
  const SteadyTime queue_deadline = now + options.queue_timeout.value_or(options_.queue.timeout);
  pending->expiry = std::min(queue_deadline, request.deadline);
  auto id = core_.Submit({.session_id = request.session_id,
                          .queue_deadline = queue_deadline,
                          .deadline = request.deadline,
                          .bytes = bytes},
                         now);
  if (!id) {
    ++refused_;
    ApplyLocked();  // it may have made the core forget a session
    return Fail(RefusalLocked(id.error()));
  }
  ++accepted_;
  pending->id = *id;
  calls_.emplace(*id, pending);
  ApplyLocked();
  return {};
}

// Waits for the core, which has until `limit`. From then on this thread moves the core's clock on
// itself, as the pool's own may be held up, by a callback say.
template <typename Predicate>
void Pool::Impl::AwaitCore(std::unique_lock<std::mutex>& lock, PendingCall& call, SteadyTime limit,
                           Predicate is_over) {
  while (!call.changed.wait_until(lock, limit, is_over)) {
    const SteadyTime now = steady_clock::now();
    core_.Tick(now);
    ApplyLocked();
    limit = now + kTick;
  }
}

// Returns when the call has a worker or has ended.
void Pool::Impl::AwaitWorker(std::unique_lock<std::mutex>& lock, PendingCall& call,
                             std::stop_token stop) {
  const auto is_over = [&call] { return call.process != nullptr || call.ended; };
  if (is_over()) return;
  if (!stop.stop_possible()) return AwaitCore(lock, call, call.expiry, is_over);
  lock.unlock();
  {
    const StopCallback on_stop(std::move(stop), [this, &call] { CancelQueued(call); });
    lock.lock();
    try {
      AwaitCore(lock, call, call.expiry, is_over);
    } catch (...) {  // the end of the thread; on_stop is not to end with the lock
      lock.unlock();
      throw;
    }
    lock.unlock();
  }
  lock.lock();
}

// On the thread that asks for the stop.
void Pool::Impl::CancelQueued(const PendingCall& call) {
  std::lock_guard lock(mutex_);
  // One that has no id yet is not submitted any more: the stop is seen there.
  if (call.id == 0) return;
  core_.Cancel(call.id, steady_clock::now());
  ApplyLocked();
}

void Pool::Impl::ReportLocked(CallId id, AfterCall after, const Error* error) {
  if (!core_.scheduler().IsInFlight(id)) return;  // an exchange that threw was released as well
  CallReport report = error == nullptr ? CallReport::kSucceeded : CallReport::kFailed;
  if (after == AfterCall::kUnusable && error != nullptr) {
    const auto call = calls_.find(id);
    if (call != calls_.end() && !error->message.empty()) {
      call->second->process->fault = CutText(error->message, kMostSharedTextBytes);
    }
  }
  if (after == AfterCall::kUnsent) report = CallReport::kUnsent;
  if (after == AfterCall::kUnusable) report = CallReport::kFailedUnusable;
  if (after == AfterCall::kOverran) report = CallReport::kFailedOverran;
  if (after == AfterCall::kEnding) report = CallReport::kRefused;
  if (after == AfterCall::kLost) report = CallReport::kLost;
  core_.CallEnded(id, report, steady_clock::now());
  ApplyLocked();
}

// Makes of a failure what the caller is told. Its text is without the token that the worker may
// have put there; and where a worker that is ending refused the call (PROTOCOL.md 1.4.8), it is
// lost.
template <typename T>
void Pool::Impl::ReviseFailure(const CallRequest& request, const Process& process,
                               CallOutcome<T>* outcome) const {
  if (outcome->result) return;
  Error& error = outcome->result.error();
  error.message = HideSecret(std::move(error.message), process.secret);
  if (outcome->after != AfterCall::kUsable || !IsRefusedAsEnding(error, request)) return;
  *outcome = {
      Fail(ErrorCode::kWorkerLost, Prefix() + NameOf(process) +
                                       " is ending, though the pool had not asked it to: it "
                                       "refused the call, which was not executed"),
      AfterCall::kEnding};
}

// On the io_context's thread: the worker is through with a call that was abandoned. Run may not
// have got to know yet that it was.
void Pool::Impl::OnReleased(CallId id, AfterCall after) {
  std::lock_guard lock(mutex_);
  if (auto call = calls_.find(id); call != calls_.end()) call->second->released = true;
  const Error given_up;
  ReportLocked(id, after, &given_up);
  changed_.notify_all();
}

// On the caller's thread: submit, wait for a worker, exchange, report.
template <typename T>
Result<T> Pool::Impl::Run(CallRequest& request, const CallOptions& options,
                          const std::function<CallOutcome<T>(Connection&)>& exchange) {
  PendingCall call;
  const size_t bytes = MemoryBytes(*request.args);
  std::unique_lock lock(mutex_);
  Result<void> submitted = SubmitLocked(request, bytes, options, &call);
  if (!submitted) return Fail(std::move(submitted.error()));
  Result<T> result = T();
  try {
    result = RunSubmitted<T>(lock, call, request, options, exchange);
  } catch (...) {
    ForgetCall(lock, call);
    throw;
  }
  calls_.erase(call.id);
  ++(result ? succeeded_ : failed_);
  changed_.notify_all();
  lock.unlock();

  const CallInfo info = InfoOf(call);
  if (options.info != nullptr) *options.info = info;
  if (!result) result.error().worker_id = info.worker_id;
  return result;
}

// The thread ends within the call, by pthread_exit(3) or pthread_cancel(3), or there is no memory:
// nobody may find the call any more.
void Pool::Impl::ForgetCall(std::unique_lock<std::mutex>& lock, const PendingCall& call) {
  if (!lock.owns_lock()) lock.lock();
  core_.Cancel(call.id, steady_clock::now());  // while it is queued
  const Error gone;
  ReportLocked(call.id, AfterCall::kUnusable, &gone);  // while a worker has it
  ApplyLocked();
  calls_.erase(call.id);
  ++failed_;
  changed_.notify_all();
}

// With the lock, before and after.
template <typename T>
Result<T> Pool::Impl::RunSubmitted(std::unique_lock<std::mutex>& lock, PendingCall& call,
                                   CallRequest& request, const CallOptions& options,
                                   const std::function<CallOutcome<T>(Connection&)>& exchange) {
  AwaitWorker(lock, call, options.stop);
  Result<T> result = T();
  if (!call.ended) {
    request.released = [this, id = call.id](AfterCall after) { OnReleased(id, after); };
    lock.unlock();
    CallOutcome<T> outcome{Fail(ErrorCode::kInternal, ""), AfterCall::kUnusable};
    try {
      outcome = exchange(*call.process->connection);
    } catch (const std::exception& error) {
      outcome = Thrown<T>(error);
    }
    ReviseFailure(request, *call.process, &outcome);
    result = std::move(outcome.result);
    lock.lock();
    if (outcome.after != AfterCall::kAbandoned) {
      ReportLocked(call.id, outcome.after, result ? nullptr : &result.error());
    }
    if (outcome.after == AfterCall::kLost) {
      AwaitCore(lock, call,
                std::min(request.deadline, steady_clock::now() + Core::kExitReportLimit),
                [&call] { return call.ended.has_value(); });
    }
  }
  if (call.ended) {
    // Where the transport knows more of a loss (a half frame, say), it is told too.
    if (!result) {
      call.ended->may_have_run = result.error().may_have_run;
      call.ended->message += ": " + result.error().message;
    }
    result = Fail(std::move(*call.ended));
  }
  return result;
}

Result<Value> Pool::Impl::Execute(std::string_view command, const Value& args,
                                  const CallOptions& options) {
  Result<CallRequest> request = MakeRequest(command, args, options, options_.call_timeout);
  if (!request) return Fail(std::move(request.error()));
  return Run<Value>(*request, options,
                    [&request](Connection& connection) { return connection.Call(*request); });
}

Result<int64_t> Pool::Impl::ExecuteStream(std::string_view command, const Value& args,
                                          const ChunkCallback& on_chunk,
                                          const CallOptions& options) {
  Result<CallRequest> request = MakeRequest(command, args, options, options_.stream_timeout);
  if (!request) return Fail(std::move(request.error()));
  std::exception_ptr thrown;
  const ChunkCallback guarded = [this, &on_chunk, &thrown](const Chunk& chunk) {
    bool goes_on = false;
    try {
      goes_on = on_chunk(chunk);
    } catch (const abi::__forced_unwind&) {
      throw;         // the thread is being ended, which cannot be stopped
    } catch (...) {  // gives the stream up
      thrown = std::current_exception();
    }
    EndIfForked();
    return goes_on;
  };
  Result<int64_t> result = Run<int64_t>(*request, options, [&](Connection& connection) {
    return connection.Stream(*request, guarded);
  });
  if (thrown) std::rethrow_exception(thrown);
  return result;
}

// --- Asynchronous calls ------------------------------------------------------------------------

void Pool::Impl::Submit(std::string_view command, Value args,
                        std::function<void(Result<Value>)> done, const CallOptions& options) {
  auto call = std::make_unique<AsyncCall>();
  call->pending.async = call.get();
  call->command = command;
  call->args = std::move(args);
  call->done = std::move(done);
  call->options = options;
  call->info = options.info;
  if (options.stop.stop_possible()) {
    call->on_stop.emplace(options.stop, [this, call = call.get()] { CancelQueued(call->pending); });
  }
  Result<CallRequest> request =
      MakeRequest(call->command, call->args, call->options, options_.call_timeout);
  const size_t bytes = MemoryBytes(call->args);
  std::unique_lock lock(mutex_);
  Result<void> submitted;
  if (request) {
    call->request = *request;
    submitted = SubmitLocked(call->request, bytes, options, &call->pending);
    if (submitted) {
      (void)call.release();  // EndAsync deletes it
      return;
    }
  } else {
    submitted = Fail(std::move(request.error()));
  }
  if (!thread_ends_) {
    asio::post(
        io_, [this, done = std::move(call->done), error = std::move(submitted.error())]() mutable {
          Tell(done, Fail(std::move(error)));
          EndIfForked();
        });
    return;
  }
  lock.unlock();
  Tell(call->done,
       Fail(std::move(submitted.error())));  // after a Shutdown there is no other thread
}

// On the io_context's thread, when a worker has been found.
void Pool::Impl::StartAsync(AsyncCall* call) {
  call->request.released = [this, id = call->pending.id](AfterCall after) {
    OnReleased(id, after);
  };
  try {
    call->pending.process->connection->CallAsync(
        call->request,
        [this, call](CallOutcome<Value> outcome) { OnAsyncOutcome(call, std::move(outcome)); });
  } catch (const std::exception& error) {
    OnAsyncOutcome(call, Thrown<Value>(error));
  }
}

// On the io_context's thread.
void Pool::Impl::OnAsyncOutcome(AsyncCall* call, CallOutcome<Value> outcome) {
  ReviseFailure(call->request, *call->pending.process, &outcome);
  const bool lost = outcome.after == AfterCall::kLost;
  if (lost) call->lost = std::move(outcome.result.error());
  {
    std::lock_guard lock(mutex_);
    // A lost call ends by an effect, perhaps of this very step; not before this has returned.
    if (outcome.after != AfterCall::kAbandoned) {
      ReportLocked(call->pending.id, outcome.after,
                   outcome.result ? nullptr : &outcome.result.error());
    }
  }
  if (!lost) EndAsync(call, std::move(outcome.result));
}

// On the io_context's thread.
void Pool::Impl::EndAsync(AsyncCall* call, Result<Value> result) {
  const std::unique_ptr<AsyncCall> owned(call);
  {
    std::lock_guard lock(mutex_);
    ++(result ? succeeded_ : failed_);
  }
  const CallInfo info = InfoOf(call->pending);
  if (!result) {
    result.error().worker_id = info.worker_id;
    if (call->lost) {
      result.error().may_have_run = call->lost->may_have_run;
      result.error().message += ": " + call->lost->message;
    }
  }
  if (call->info != nullptr) *call->info = info;
  Tell(call->done, std::move(result));
  EndIfForked();
  std::lock_guard lock(mutex_);
  calls_.erase(call->pending.id);  // not before: Drain waits for it
  changed_.notify_all();
}

// What a callback throws is its own fault, and no other call's end.
void Pool::Impl::Tell(const std::function<void(Result<Value>)>& done, Result<Value> result) const {
  if (!done) return;
  try {
    done(std::move(result));
  } catch (...) {
    Log(LogLevel::kError, "the callback of a call threw " + DescribeException());
  }
}

// --- Errors ------------------------------------------------------------------------------------

CallInfo Pool::Impl::InfoOf(const PendingCall& call) {
  if (!call.process) return {};
  return {.worker_id = call.process->worker_id,
          .worker_pid = call.process->pid,
          .session_moved = call.session_moved};
}

std::string Pool::Impl::QueueStateLocked() const {
  std::string text = std::to_string(core_.scheduler().queued()) + " of " +
                     std::to_string(options_.queue.max_calls) + " calls queued (" +
                     std::to_string(core_.scheduler().queued_bytes()) + " of " +
                     std::to_string(options_.queue.max_bytes) + " bytes), the oldest for " +
                     Milliseconds(OldestQueuedLocked()) + "; the workers are";
  for (int state = 0; state < kWorkerStates; ++state) {
    int count = 0, in_flight = 0, capacity = 0;
    for (const Core::Worker& worker : core_.workers()) {
      if (static_cast<int>(worker.state) != state || worker.state == WorkerState::kGone) continue;
      ++count;
      in_flight += worker.in_flight;
      capacity += worker.capacity;
    }
    if (count == 0) continue;
    text += (text.ends_with("are") ? " " : ", ") + std::to_string(count) + " " +
            std::string(WorkerStateName(static_cast<WorkerState>(state)));
    if (in_flight > 0) {
      text += " (" + std::to_string(in_flight) + " in flight, capacity " +
              std::to_string(capacity) + ")";
    }
  }
  if (last_start_error_ && !core_.roster().AllReady()) {
    text += "; the last start that failed: " + LastStartErrorLocked();
  }
  return text;
}

// Each call that waits may get a copy.
std::string Pool::Impl::LastStartErrorLocked() const {
  return CutText(last_start_error_->message, kMostSharedTextBytes);
}

std::string Pool::Impl::BreakerTextLocked() const {
  const Breaker& breaker = core_.supervisor().breaker();
  std::string text = "workers are not started any more for now, as too many ended: " +
                     std::to_string(breaker.futile_ends()) + " within " +
                     Milliseconds(options_.restart.burst_window) +
                     " without having answered a call, " + std::to_string(breaker.ends()) +
                     " within " + Milliseconds(options_.restart.sustained_window) + " in all";
  if (breaker.state() == BreakerState::kHalfOpen) {
    text += "; one is being tried";
  } else if (breaker.timer()) {
    text += "; one is tried in " + Milliseconds(std::max(*breaker.timer() - steady_clock::now(),
                                                         steady_clock::duration(0)));
  }
  if (last_start_error_) text += "; the last start that failed: " + LastStartErrorLocked();
  return text;
}

Error Pool::Impl::RefusalLocked(Refusal refusal) const {
  const auto error = [this](ErrorCode code, std::string message) {
    return Error{.code = code, .message = Prefix() + std::move(message)};
  };
  switch (refusal) {
    case Refusal::kClosed:
      break;
    case Refusal::kBreakerOpen:
      return error(ErrorCode::kUnavailable, BreakerTextLocked());
    case Refusal::kQueueFull:
      return error(ErrorCode::kQueueFull,
                   "no worker is free and the queue is full: " + QueueStateLocked());
    case Refusal::kSessionBusy:
      return error(ErrorCode::kSessionBusy, "the worker of the session has no room");
    case Refusal::kSessionLost:
      return error(
          ErrorCode::kSessionLost,
          "the worker with the state of the session is gone; EndSession lets it begin anew");
  }
  return error(ErrorCode::kUnavailable, "the pool takes no more calls: it drains, or is shut down");
}

Error Pool::Impl::EndedLocked(const EndCall& end, const PendingCall& call) const {
  const auto not_executed = [this](ErrorCode code, std::string message) {
    return Error{.code = code, .message = Prefix() + std::move(message)};
  };
  switch (end.why) {
    case EndCall::Why::kQueueTimeout:
      return not_executed(
          ErrorCode::kQueueTimeout,
          "no worker came free in time, the call was not executed: " + QueueStateLocked());
    case EndCall::Why::kDeadlineExceeded:
      return not_executed(ErrorCode::kDeadlineExceeded,
                          "the deadline of the call passed before a worker came free, it was not "
                          "executed: " +
                              QueueStateLocked());
    case EndCall::Why::kCancelled:
      return not_executed(ErrorCode::kCancelled,
                          "the caller gave the call up while it was queued, it was not executed");
    case EndCall::Why::kShutdown:
      return not_executed(ErrorCode::kCancelled,
                          "the pool was shut down while the call was queued, it was not executed");
    case EndCall::Why::kBreakerOpen:
      return not_executed(ErrorCode::kUnavailable,
                          "the call was queued and is not executed: " + BreakerTextLocked());
    case EndCall::Why::kSessionLost:
      return not_executed(ErrorCode::kSessionLost,
                          "the worker with the state of the session is gone, the call was not "
                          "executed; EndSession lets it begin anew");
    case EndCall::Why::kWorkerLost:
      break;
  }
  const Process& process = *call.process;
  Error error;
  error.code = ErrorCode::kWorkerLost;
  error.message = Prefix() + NameOf(process);
  if (end.exit) {
    error.message += " ended by " + Describe(*end.exit) + " while it had the call" +
                     ReasonText(*end.exit, process.given_up);
  } else {
    error.message += " closed its connection while it had the call; ";
    if (!process.given_up.empty()) error.message += "it was killed, as " + process.given_up + "; ";
    error.message += "how its process ends was not known in time";
  }
  error.exit = end.exit;
  error.stderr_tail = process.stderr_tail;
  error.may_have_run = true;
  return error;
}

}  // namespace snakepit
