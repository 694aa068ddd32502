#include "src/pool/call_table.h"

#include <cxxabi.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "src/base/quote.h"
#include "src/pool/options.h"
#include "src/transport/outcome.h"
#include "src/value/json.h"
#include "src/value/memory.h"
#include "src/wire/limits.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// Between two looks of a waiting thread at the core's clock.
constexpr std::chrono::milliseconds kTick{10};

// The transport threw: there is no memory, say. Nobody knows how far the call has got.
template <typename T>
CallOutcome<T> Thrown(const std::exception& error) {
  return {
      Fail(MayHaveRun({.code = ErrorCode::kInternal,
                       .message = std::string("the call failed in the pool: ") + error.what()})),
      AfterCall::kUnusable};
}

CallReport ReportOf(AfterCall after, bool succeeded) {
  switch (after) {
    case AfterCall::kUsable:
    case AfterCall::kAbandoned:
      break;
    case AfterCall::kUnsent:
      return CallReport::kUnsent;
    case AfterCall::kUnusable:
      return CallReport::kFailedUnusable;
    case AfterCall::kEnding:
      return CallReport::kRefused;
    case AfterCall::kOverran:
      return CallReport::kFailedOverran;
    case AfterCall::kLost:
      return CallReport::kLost;
  }
  return succeeded ? CallReport::kSucceeded : CallReport::kFailed;
}

}  // namespace

// --- All calls ---------------------------------------------------------------------------------

Result<void> CallTable::Prepare(PendingCall& call, std::string_view command, const Value& args,
                                const CallOptions& options,
                                std::chrono::milliseconds default_timeout) const {
  if (command.empty()) return Fail(ErrorCode::kInvalidArgument, "the command is empty");
  if (!args.is_map() && !args.is_null()) {
    return Fail(ErrorCode::kInvalidArgument,
                "the arguments of a command are a map, not " + BriefJson(args));
  }
  const auto timeout = options.timeout.value_or(default_timeout);
  if (auto valid = TimeRange("timeout", 1).Check(timeout.count()); !valid) return valid;
  const auto queue_timeout = options.queue_timeout.value_or(options_.queue.timeout);
  if (auto valid = TimeRange("queue_timeout", 0).Check(queue_timeout.count()); !valid) {
    return valid;
  }
  if (options.session &&
      (options.session->empty() || options.session->size() > kMaxSessionIdBytes)) {
    return Fail(ErrorCode::kInvalidArgument, "a session id has 1 to 256 bytes, this one has " +
                                                 std::to_string(options.session->size()));
  }
  const SteadyTime now = steady_clock::now();
  call.request = {.command = command,
                  .args = &args,
                  .session_id = options.session ? *options.session : std::string_view(),
                  .deadline = now + timeout,
                  .stop = options.stop};
  call.queue_deadline = now + queue_timeout;
  call.info = options.info;
  return {};
}

Result<void> CallTable::Accept(PendingCall& call, size_t bytes) {
  if (call.request.stop.stop_requested()) {
    ++counts_.refused;
    return Fail(ErrorCode::kCancelled, "the caller had given the call up before it was made");
  }
  const auto id = engine_.core().Submit({.session_id = call.request.session_id,
                                         .queue_deadline = call.queue_deadline,
                                         .deadline = call.request.deadline,
                                         .bytes = bytes},
                                        steady_clock::now());
  if (!id) {
    ++counts_.refused;
    Error error = RefusalError(id.error(), engine_.State());
    engine_.Settle();  // the refusal may have made the core forget a session
    return Fail(std::move(error));
  }
  ++counts_.accepted;
  call.id = *id;
  calls_.emplace(*id, &call);
  engine_.Settle();
  return {};
}

void CallTable::Dispatch(const DispatchCall& effect, std::shared_ptr<WorkerProcess> process) {
  engine_.mutex.AssertHeld();
  const auto found = calls_.find(effect.call);
  if (found == calls_.end()) return;  // its thread has ended, and tells the core
  PendingCall* const call = found->second;
  call->process = std::move(process);
  call->session_moved = effect.session_moved;
  call->is_held = ending_sessions_.contains(call->request.session_id);
  if (!call->is_held) call->Wake();
}

void CallTable::End(const EndCall& effect) {
  engine_.mutex.AssertHeld();
  const auto found = calls_.find(effect.call);
  // A call that was abandoned and then lost: its caller has an outcome, or is about to take it.
  if (found == calls_.end() || found->second->released) return;
  PendingCall* const call = found->second;
  call->ended = EndError(effect, engine_.State(),
                         call->process ? call->process->Account() : ProcessAccount{});
  call->Wake();
}

// Makes the caller's error of a failure. Its text is without the token that the worker may have put
// there. A call that a worker refused because it is ending (PROTOCOL.md 1.4.8) is lost.
template <typename T>
void CallTable::Revise(const PendingCall& call, CallOutcome<T>* outcome) const {
  if (outcome->result) return;
  Error& error = outcome->result.error();
  error.message = HideSecret(std::move(error.message), call.process->secret);
  if (outcome->after != AfterCall::kUsable || !IsRefusedAsEnding(error, call.request)) return;
  *outcome = {Fail(RefusedAsEndingError(options_, call.process->Name())), AfterCall::kEnding};
}

// `error`: the call's outcome; null: it succeeded.
void CallTable::Report(CallId id, AfterCall after, const Error* error) {
  if (!engine_.core().scheduler().IsInFlight(id))
    return;  // an exchange that threw was released as well
  if (after == AfterCall::kUnusable && error != nullptr && !error->message.empty()) {
    if (const auto call = calls_.find(id); call != calls_.end()) {
      try {
        call->second->process->fault = CutText(error->message, kMostSharedTextBytes);
      } catch (const std::bad_alloc&) {
        // The core must be told all the same. The log lacks the reason then.
      }
    }
  }
  engine_.core().CallEnded(id, ReportOf(after, error == nullptr), steady_clock::now());
  engine_.Settle();
}

// Gives the call its one result. `seen`: the transport's account of a loss, which may tell more
// than the core knows (a half frame, say); null: none.
template <typename T>
void CallTable::Settle(PendingCall& call, Result<T>* result, const Error* seen) {
  if (call.ended) {
    *result = Fail(seen == nullptr ? std::move(*call.ended)
                                   : WithTransportError(std::move(*call.ended), *seen));
  }
  ++(*result ? counts_.succeeded : counts_.failed);
  CallInfo info;
  if (call.process) {
    info = {.worker_id = call.process->worker_id,
            .worker_pid = call.process->pid,
            .session_moved = call.session_moved};
  }
  if (call.info != nullptr) *call.info = info;
  if (!*result) result->error().worker_id = info.worker_id;
}

void CallTable::Remove(const PendingCall& call) {
  calls_.erase(call.id);
  engine_.changed.notify_all();
}

// The call ends without an outcome: its thread ends within it, by pthread_exit(3) or
// pthread_cancel(3), or there is no memory. Nobody may find it any more.
void CallTable::Forget(const PendingCall& call, AfterCall after) {
  if (call.id == 0) return;
  ++counts_.failed;
  Remove(call);
  engine_.core().Cancel(call.id, steady_clock::now());  // while it is queued
  const Error gone;
  Report(call.id, after, &gone);  // while a worker has it
  engine_.Settle();
}

// The caller's stop was requested, on the thread that requested it. A call that a worker has is the
// transport's to give up.
void CallTable::GiveUp(PendingCall& call) {
  const EngineLock lock(engine_);
  // A call without an id is yet to be submitted: the stop is seen there.
  if (call.id == 0) return;
  if (std::exchange(call.is_held, false)) call.Wake();
  engine_.core().Cancel(call.id, steady_clock::now());
  engine_.Settle();
}

// On the io thread: the worker is finished with a call that was abandoned. The call's own
// thread may not know yet that it was.
void CallTable::OnReleased(CallId id, AfterCall after) {
  const EngineLock lock(engine_);
  if (const auto call = calls_.find(id); call != calls_.end()) call->second->released = true;
  const Error given_up;
  Report(id, after, &given_up);
  engine_.changed.notify_all();
}

bool CallTable::empty() const {
  engine_.mutex.AssertHeld();
  return calls_.empty();
}

CallTable::Counts CallTable::counts() const {
  engine_.mutex.AssertHeld();
  return counts_;
}

// --- Sessions ----------------------------------------------------------------------------------

// On the io thread, behind the submitted calls of the session that are yet to begin.
// Until then no call of a new session of that name may overtake.
void CallTable::EndSession(const EndWorkerSession& effect, const WorkerProcess& process) {
  engine_.mutex.AssertHeld();
  if (!process.connection->agreement().session) return;
  const auto ending = ending_sessions_.insert(effect.session_id);
  engine_.Post([this, connection = process.connection, ending, id = effect.session_id] {
    connection->EndSession(id);
    OnSessionEnded(ending);
  });
}

void CallTable::OnSessionEnded(SessionIds::iterator session) {
  const EngineLock lock(engine_);
  const std::string id = *session;
  ending_sessions_.erase(session);
  if (ending_sessions_.contains(id)) return;
  for (const auto& [number, call] : calls_) {
    if (!call->is_held || call->request.session_id != id) continue;
    call->is_held = false;
    call->Wake();
  }
}

// --- Calls of threads --------------------------------------------------------------------------

// Waits for the core, which has until `limit`. From then on this thread moves the core's clock on
// itself, as the pool's own may be held up by a callback.
template <typename Predicate>
void CallTable::AwaitCore(EngineLock& lock, ThreadCall& call, SteadyTime limit, Predicate is_over) {
  while (!lock.WaitUntil(call.changed, limit, is_over)) {
    const SteadyTime now = steady_clock::now();
    engine_.Tick(now);
    limit = now + kTick;
  }
}

// Returns when the call has a worker or has ended, or with a refusal.
Result<void> CallTable::SubmitAndAwait(ThreadCall& call) {
  const auto is_over = [&call] {
    return call.is_settled() || (call.is_held && steady_clock::now() >= call.request.deadline);
  };
  const SteadyTime expiry = std::min(call.queue_deadline, call.request.deadline);
  const size_t bytes = MemoryBytes(*call.request.args);
  {
    EngineLock lock(engine_);
    if (auto accepted = Accept(call, bytes); !accepted) return accepted;
    if (call.is_settled()) return {};
    if (!call.request.stop.stop_possible()) {
      AwaitCore(lock, call, expiry, is_over);
      return {};
    }
  }
  const StopCallback on_stop(call.request.stop, [this, &call] { GiveUp(call); });
  EngineLock lock(engine_);
  AwaitCore(lock, call, expiry, is_over);
  return {};
}

template <typename T, typename Exchange>
Result<T> CallTable::Run(ThreadCall& call, Exchange exchange) {
  try {
    if (auto submitted = SubmitAndAwait(call); !submitted) {
      return Fail(std::move(submitted.error()));
    }
    CallOutcome<T> outcome{Fail(ErrorCode::kInternal, ""), AfterCall::kAbandoned};
    const bool has_worker = !call.ended;
    if (has_worker) {
      call.request.released = [this, id = call.id](AfterCall after) { OnReleased(id, after); };
      try {
        outcome = exchange(*call.process->connection);
      } catch (const std::exception& error) {
        outcome = Thrown<T>(error);
      }
      Revise(call, &outcome);
    }
    Result<T>& result = outcome.result;
    EngineLock lock(engine_);
    if (outcome.after != AfterCall::kAbandoned) {
      Report(call.id, outcome.after, result ? nullptr : &result.error());
    }
    if (outcome.after == AfterCall::kLost) {
      AwaitCore(lock, call,
                std::min(call.request.deadline, steady_clock::now() + Core::kExitReportLimit),
                [&call] { return call.ended.has_value(); });
    }
    const std::optional<Error> seen =
        call.ended && has_worker && !result ? std::optional(result.error()) : std::nullopt;
    Settle(call, &result, seen ? &*seen : nullptr);
    Remove(call);
    return std::move(result);
  } catch (...) {
    const EngineLock lock(engine_);
    Forget(call, AfterCall::kUnusable);
    throw;
  }
}

Result<Value> CallTable::Execute(std::string_view command, const Value& args,
                                 const CallOptions& options) {
  ThreadCall call;
  if (auto valid = Prepare(call, command, args, options, options_.call_timeout); !valid) {
    return Fail(std::move(valid.error()));
  }
  return Run<Value>(call,
                    [&call](Connection& connection) { return connection.Call(call.request); });
}

Result<int64_t> CallTable::ExecuteStream(std::string_view command, const Value& args,
                                         const ChunkCallback& on_chunk,
                                         const CallOptions& options) {
  ThreadCall call;
  if (auto valid = Prepare(call, command, args, options, options_.stream_timeout); !valid) {
    return Fail(std::move(valid.error()));
  }
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
    callbacks_.EndIfForked();
    return goes_on;
  };
  Result<int64_t> result = Run<int64_t>(
      call, [&](Connection& connection) { return connection.Stream(call.request, guarded); });
  if (thrown) std::rethrow_exception(thrown);
  return result;
}

// --- Submitted calls ---------------------------------------------------------------------------

void CallTable::Submit(std::string_view command, Value args,
                       std::function<void(Result<Value>)> done, const CallOptions& options) {
  auto call = std::make_unique<TypedAsyncCall<Value>>();
  call->command = command;
  call->args = std::move(args);
  call->done = std::move(done);
  call->begin = [](Connection& connection, const CallRequest& request, auto on_outcome) {
    connection.CallAsync(request, std::move(on_outcome));
  };
  Start(std::move(call), options, options_.call_timeout);
}

void CallTable::SubmitStream(std::string_view command, Value args, ChunkCallback on_chunk,
                             std::function<void(Result<int64_t>)> done,
                             const CallOptions& options) {
  auto call = std::make_unique<TypedAsyncCall<int64_t>>();
  call->command = command;
  call->args = std::move(args);
  call->done = std::move(done);
  call->begin = [this, on_chunk = std::move(on_chunk)](
                    Connection& connection, const CallRequest& request, auto on_outcome) {
    connection.StreamAsync(
        request,
        [this, on_chunk](const Chunk& chunk) { return callbacks_.TellChunk(on_chunk, chunk); },
        std::move(on_outcome));
  };
  Start(std::move(call), options, options_.stream_timeout);
}

template <typename T>
void CallTable::Start(std::unique_ptr<TypedAsyncCall<T>> call, const CallOptions& options,
                      std::chrono::milliseconds default_timeout) {
  call->proceed = [this, call = call.get()] { engine_.Post([this, call] { Proceed(call); }); };
  Result<void> submitted = Prepare(*call, call->command, call->args, options, default_timeout);
  if (options.session) {
    call->session = options.session;
    call->request.session_id = *call->session;
  }
  if (options.stop.stop_possible()) {
    call->on_stop.emplace(options.stop, [this, call = call.get()] { GiveUp(*call); });
  }
  const size_t bytes = MemoryBytes(call->args);
  {
    const EngineLock lock(engine_);
    if (submitted) {
      try {
        submitted = Accept(*call, bytes);
      } catch (const std::exception&) {  // there is no memory, say
        if (!call->is_woken) {
          Forget(*call, AfterCall::kUnsent);
          throw;
        }
        // It goes on by itself: only an effect on others is lost.
      }
      if (submitted) {
        (void)call.release();  // Finish deletes it
        return;
      }
    }
    if (!engine_.thread_ends()) {
      engine_.Post(
          [this, done = std::move(call->done), error = std::move(submitted.error())]() mutable {
            callbacks_.Tell<T>(done, Fail(std::move(error)));
          });
      return;
    }
  }
  // After Shutdown there is no other thread.
  callbacks_.Tell<T>(call->done, Fail(std::move(submitted.error())));
}

// On the io thread: the call has a worker, or has ended.
template <typename T>
void CallTable::Proceed(TypedAsyncCall<T>* call) {
  if (call->ended) return Finish<T>(call, {Fail(ErrorCode::kInternal, ""), AfterCall::kAbandoned});
  call->request.released = [this, id = call->id](AfterCall after) { OnReleased(id, after); };
  beginning_ = call;
  try {
    call->begin(*call->process->connection, call->request,
                [this, call](CallOutcome<T> outcome) { OnOutcome(call, std::move(outcome)); });
  } catch (const std::exception& error) {
    if (beginning_ != call) throw;  // it had its outcome at once, and may be gone
    OnOutcome(call, Thrown<T>(error));
  }
}

// On the io thread.
template <typename T>
void CallTable::OnOutcome(TypedAsyncCall<T>* call, CallOutcome<T> outcome) {
  if (beginning_ == call) beginning_ = nullptr;
  Revise(*call, &outcome);
  if (outcome.after != AfterCall::kLost) return Finish(call, std::move(outcome));
  call->lost = std::move(outcome.result.error());
  // A lost call ends by an effect, perhaps of this very step, which has it proceed.
  const EngineLock lock(engine_);
  Report(call->id, AfterCall::kLost, &*call->lost);
}

// On the io thread.
template <typename T>
void CallTable::Finish(TypedAsyncCall<T>* call, CallOutcome<T> outcome) {
  const std::unique_ptr<TypedAsyncCall<T>> owned(call);
  Result<T>& result = outcome.result;
  std::exception_ptr thrown;  // by an effect on others: this call has its outcome all the same
  {
    const EngineLock lock(engine_);
    try {
      if (outcome.after != AfterCall::kAbandoned) {
        Report(call->id, outcome.after, result ? nullptr : &result.error());
      }
    } catch (...) {
      thrown = std::current_exception();
    }
    Settle(*call, &result, call->lost ? &*call->lost : nullptr);
  }
  callbacks_.Tell(call->done, std::move(result));
  {
    const EngineLock lock(engine_);
    Remove(*call);  // not before: Drain waits for it
  }
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace snakepit
