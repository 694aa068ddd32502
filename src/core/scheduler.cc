#include "src/core/scheduler.h"

#include <algorithm>
#include <utility>

#include "src/core/fault.h"

namespace snakepit {
namespace {

constexpr TimerKey kSessionTimer(TimerKind::kSession);

TimerKey CallTimer(CallId call) { return TimerKey(TimerKind::kCall, call); }

}  // namespace

Scheduler::Scheduler(const PoolOptions& options, WorkerBoard* board, Timers* timers,
                     Effects* effects)
    : options_(options),
      board_(*board),
      timers_(*timers),
      effects_(*effects),
      router_(options.sessions.affinity, *board),
      queue_(board),
      sessions_(options.sessions.idle_timeout, options.sessions.max_count) {}

// --- Calls -------------------------------------------------------------------------------------

tl::expected<Scheduler::Accepted, Refusal> Scheduler::Submit(const CallSpec& spec, bool is_out,
                                                             SteadyTime now) {
  Call call;
  call.session_id = spec.session_id;
  call.submitted = now;
  call.queue_deadline = spec.queue_deadline;
  call.deadline = spec.deadline;
  call.bytes = spec.bytes;
  SessionTable::Session* session = nullptr;
  if (!call.session_id.empty()) {
    session = sessions_.Find(spec.session_id, now);
    // A refused call is no use of its session: else retries would keep a lost session alive.
    if (session != nullptr && router_.IsLost(*session)) {
      return tl::unexpected(Refusal::kSessionLost);
    }
    session = &UseSession(spec.session_id, now);
    call.session_number = session->number;
    call.place.is_first_of_session = !(session->established && router_.Serves(*session));
    if (!session_timer_) timers_.Set(&session_timer_, kSessionTimer, sessions_.NextExpiry());
  }
  const Route route = router_.RouteOf(session, call.place);
  if (route.kind == Route::Kind::kSessionBusy) return tl::unexpected(Refusal::kSessionBusy);
  const bool is_dispatched = route.kind == Route::Kind::kDispatch;
  if (!is_dispatched) {
    if (is_out) return tl::unexpected(Refusal::kBreakerOpen);
    if (queue_.size() >= options_.queue.max_calls ||
        call.bytes > options_.queue.max_bytes - queue_.bytes()) {
      return tl::unexpected(Refusal::kQueueFull);
    }
  }
  if (session != nullptr) ++session->open_calls;
  const CallId id = ++last_call_;
  Call& entry = calls_.emplace(id, std::move(call)).first->second;
  if (is_dispatched) {
    Dispatch(id, entry, route.worker);
    return Accepted{id, route.worker};
  }
  timers_.Add(entry.expiry(), CallTimer(id));
  entry.place.waits_for = route.worker;
  queue_.Add(id, entry.bytes, route.worker);
  return Accepted{id, kNoWorker};
}

WorkerIndex Scheduler::Cancel(CallId id, SteadyTime now) {
  const auto call = calls_.find(id);
  if (call == calls_.end() || call->second.worker != kNoWorker) return kNoWorker;
  return EndQueued(call, EndCall::Why::kCancelled, now);
}

bool Scheduler::IsInFlight(CallId id) const {
  const auto call = calls_.find(id);
  return call != calls_.end() && call->second.worker != kNoWorker && !call->second.lost;
}

WorkerIndex Scheduler::CallEnded(CallId id, CallReport report, SteadyTime now) {
  if (!IsInFlight(id)) Fault("a call has ended that is not in flight");
  const auto call = calls_.find(id);
  const ProcessNumber process = call->second.process;
  const WorkerIndex worker = call->second.worker;
  WorkerView& view = board_[worker];
  const bool is_present = view.process == process && !call->second.process_gone;
  if (report == CallReport::kLost) {
    if (!is_present) {
      EndLost(call, now);
      return kNoWorker;
    }
    call->second.lost = true;
    call->second.lost_until = std::min(call->second.deadline, now + kExitReportLimit);
    timers_.Add(call->second.lost_until, CallTimer(id));
    return worker;
  }
  SessionTable::Session* const session = Erase(call, now);
  if (!is_present) return kNoWorker;
  if (--view.in_flight == 0) view.idle_since = now;
  const bool has_begun = report != CallReport::kUnsent && report != CallReport::kRefused;
  if (session != nullptr && session->process_number == process && has_begun) {
    session->established = true;
  }
  return worker;
}

void Scheduler::EndLost(Calls::iterator call, SteadyTime now) {
  if (call->second.lost) timers_.Remove(call->second.lost_until, CallTimer(call->first));
  if (!call->second.process_gone) --board_[call->second.worker].in_flight;
  effects_.emplace_back(
      EndCall{.call = call->first, .why = EndCall::Why::kWorkerLost, .exit = call->second.exit});
  Erase(call, now);
}

// Returns the session of the call; null: it has none, or that was ended meanwhile.
SessionTable::Session* Scheduler::Erase(Calls::iterator call, SteadyTime now) {
  SessionTable::Session* session = nullptr;
  if (call->second.session_number != 0) {
    session = sessions_.CallEnded(call->second.session_id, call->second.session_number, now);
  }
  calls_.erase(call);
  return session;
}

void Scheduler::Dequeue(CallId id, Call& call) {
  timers_.Remove(call.expiry(), CallTimer(id));
  queue_.Remove(id, call.bytes, call.place.waits_for);
  call.place.waits_for = kNoWorker;
}

// Returns the worker that the call waited for, or kNoWorker.
WorkerIndex Scheduler::EndQueued(Calls::iterator call, EndCall::Why why, SteadyTime now) {
  const WorkerIndex waited_for = call->second.place.waits_for;
  Dequeue(call->first, call->second);
  effects_.emplace_back(EndCall{.call = call->first, .why = why});
  Erase(call, now);
  return waited_for;
}

WorkerIndex Scheduler::Expire(Calls::iterator call, SteadyTime now) {
  const bool past_deadline = call->second.deadline <= call->second.queue_deadline;
  return EndQueued(
      call, past_deadline ? EndCall::Why::kDeadlineExceeded : EndCall::Why::kQueueTimeout, now);
}

void Scheduler::EndCommonQueue(EndCall::Why why, SteadyTime now) {
  while (!queue_.common().empty()) EndQueued(calls_.find(*queue_.common().begin()), why, now);
}

void Scheduler::Stop(SteadyTime now) {
  stopping_ = true;
  router_.Stop();
  EndCommonQueue(EndCall::Why::kShutdown, now);
  for (WorkerIndex worker{0}; worker != board_.end_index(); ++worker) {
    const CallQueue::Ids& waiting = queue_.OfWorker(worker);
    while (!waiting.empty()) {
      EndQueued(calls_.find(*waiting.begin()), EndCall::Why::kShutdown, now);
    }
  }
  timers_.Set(&session_timer_, kSessionTimer, std::nullopt);
}

WorkerIndex Scheduler::CallTimerFired(CallId id, SteadyTime now) {
  const auto call = calls_.find(id);
  if (call == calls_.end()) Fault("the timer of a call outlived it");
  if (!call->second.lost) return Expire(call, now);
  EndLost(call, now);
  return kNoWorker;
}

std::optional<SteadyTime> Scheduler::OldestQueued() const {
  const CallId oldest = queue_.Oldest();
  if (oldest == 0) return std::nullopt;
  return calls_.find(oldest)->second.submitted;
}

// --- Workers -----------------------------------------------------------------------------------

void Scheduler::ProcessGone(WorkerIndex worker, std::optional<ExitStatus> exit, SteadyTime now) {
  const ProcessNumber process = board_[worker].process;
  for (auto next = calls_.begin(); next != calls_.end();) {
    const auto call = next++;
    if (call->second.worker != worker || call->second.process != process) continue;
    call->second.process_gone = true;
    call->second.exit = exit;
    if (call->second.lost) EndLost(call, now);
  }
  board_[worker].in_flight = 0;
}

void Scheduler::StateChanged(WorkerIndex worker, SteadyTime now) {
  const WorkerView& view = board_[worker];
  if (view.waiting == 0 || view.state == WorkerState::kReady) return;
  // A worker that is replaced in order serves the strict calls that were accepted for it.
  const bool may_serve = view.Serves() || view.state == WorkerState::kDraining;
  if (router_.is_strict() && may_serve) return;
  ReleaseQueueOf(worker, now);
}

void Scheduler::ReleaseQueueOf(WorkerIndex worker, SteadyTime now) {
  const CallQueue::Ids& waiting = queue_.OfWorker(worker);
  while (!waiting.empty()) {
    const auto call = calls_.find(*waiting.begin());
    if (router_.is_strict()) {
      EndQueued(call, EndCall::Why::kSessionLost, now);
    } else {
      queue_.Move(call->first, worker, kNoWorker);
      call->second.place.waits_for = kNoWorker;
    }
  }
}

// --- Dispatch ----------------------------------------------------------------------------------

void Scheduler::Dispatch(CallId id, Call& call, WorkerIndex worker) {
  WorkerView& view = board_[worker];
  call.worker = worker;
  call.process = view.process;
  ++view.in_flight;
  ++view.calls_started;
  view.last_dispatch = ++dispatches_;
  bool moved = false;
  if (SessionTable::Session* const session = SessionOf(call); session != nullptr) {
    const bool is_its_own = session->worker == worker && session->process_number == view.process;
    if (!is_its_own && !router_.Serves(*session)) {
      moved = session->worker != kNoWorker;
      Bind(session, worker, id);
    }
  }
  effects_.emplace_back(DispatchCall{.call = id, .process = view.process, .session_moved = moved});
}

std::optional<Scheduler::Routed> Scheduler::RouteNext(SteadyTime now) {
  if (queue_.size() == 0) return std::nullopt;
  const CallId id = queue_.NextWithRoom();
  if (id == 0) return std::nullopt;
  const auto entry = calls_.find(id);
  Call& call = entry->second;
  if (call.expiry() <= now) return Routed{.left = Expire(entry, now)};  // its timer is late
  const Route route = router_.RouteOf(SessionOf(call), call.place);
  switch (route.kind) {
    case Route::Kind::kDispatch:
      Dequeue(id, call);
      Dispatch(id, call, route.worker);
      return Routed{.dispatched_to = route.worker};
    case Route::Kind::kWait:
      // The worker of its session was unhealthy for a while.
      if (call.place.waits_for != kNoWorker) Fault("a call waits for a worker that has room");
      queue_.Move(id, kNoWorker, route.worker);
      call.place.waits_for = route.worker;
      return Routed{};
    case Route::Kind::kSessionLost:
      return Routed{.left = EndQueued(entry, EndCall::Why::kSessionLost, now)};
    case Route::Kind::kSessionBusy:
      Fault("a queued call is refused");
    case Route::Kind::kQueue:
      break;
  }
  Fault("a call has no worker though one has room");
}

// --- Sessions ----------------------------------------------------------------------------------

SessionTable::Session& Scheduler::UseSession(std::string_view id, SteadyTime now) {
  SessionTable::Session& session = sessions_.Use(id, now, &forgotten_);
  TellForgotten();
  return session;
}

// Returns null for a call without a session. To be called only while the call has not ended, and
// its session was not ended while it was in flight.
SessionTable::Session* Scheduler::SessionOf(const Call& call) {
  if (call.session_number == 0) return nullptr;
  SessionTable::Session* session = sessions_.Find(call.session_id, call.session_number);
  if (session == nullptr) Fault("a session with an open call was forgotten");
  return session;
}

// Binds the session to the worker that has its state from now on. Its calls that were queued
// before that have to go to the same worker, if they are bound at all; all but `except`.
void Scheduler::Bind(SessionTable::Session* session, WorkerIndex worker, CallId except) {
  session->worker = worker;
  session->process_number = board_[worker].process;
  session->established = false;
  if (session->open_calls < 2) return;
  for (auto next = queue_.common().begin(); next != queue_.common().end();) {
    const CallId id = *next++;
    Call& call = calls_.find(id)->second;
    const bool is_bound = router_.is_strict() || call.place.is_first_of_session;
    if (id == except || !is_bound || call.session_number != session->number) continue;
    queue_.Move(id, kNoWorker, worker);
    call.place.waits_for = worker;
  }
}

void Scheduler::TellForgotten() {
  for (SessionTable::Session& session : forgotten_) {
    // Else its state has gone with the process, or there is none yet.
    if (!router_.Serves(session)) continue;
    effects_.emplace_back(
        EndWorkerSession{.process = session.process_number, .session_id = std::move(session.id)});
  }
  forgotten_.clear();
}

std::optional<WorkerIndex> Scheduler::EndSession(std::string_view session_id, SteadyTime now) {
  auto ended = sessions_.Forget(session_id);
  if (!ended) return std::nullopt;
  const WorkerIndex worker = ended->worker;
  if (ended->open_calls > 0) {
    SessionTable::Session* anew = nullptr;
    for (auto& [id, call] : calls_) {
      if (call.worker != kNoWorker || call.session_number != ended->number) continue;
      if (anew == nullptr) anew = &UseSession(session_id, now);
      ++anew->open_calls;
      call.session_number = anew->number;
      call.place.is_first_of_session = true;
      if (call.place.waits_for == kNoWorker) continue;
      queue_.Move(id, call.place.waits_for, kNoWorker);
      call.place.waits_for = kNoWorker;
    }
  }
  forgotten_.push_back(std::move(*ended));
  TellForgotten();
  return worker;
}

void Scheduler::SessionTimerFired(SteadyTime now) {
  session_timer_.reset();
  sessions_.Expire(now, &forgotten_);
  TellForgotten();
  const auto next = sessions_.NextExpiry();
  if (!next || stopping_) return;
  // The sessions that are left have their turn in a moment: other events come first.
  timers_.Set(&session_timer_, kSessionTimer, std::max(*next, now + std::chrono::milliseconds(1)));
}

}  // namespace snakepit
