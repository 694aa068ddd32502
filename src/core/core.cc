// Core: calls, sessions, routing and time. core_workers.cc has the workers.
#include "src/core/core.h"

#include <algorithm>
#include <utility>

#include "src/core/fault.h"

namespace snakepit {

Core::Core(const PoolOptions& options, uint64_t seed)
    : options_(options),
      random_(seed),
      breaker_(options_),
      sessions_(options.sessions.idle_timeout, options.sessions.max_count) {}

void Core::Start(Time now) {
  for (int id = 0; id < options_.workers; ++id) {
    seats_.push_back({.worker = AddWorker(id)});
    StartOrHold(seats_[id].worker, now);
  }
  if (options_.health.interval.count() > 0) {
    SetTimer(&health_timer_, kHealthTimer, now + options_.health.interval);
  }
}

// --- Calls -------------------------------------------------------------------------------------

tl::expected<CallId, Refusal> Core::Submit(const CallSpec& spec, Time now) {
  if (closed_) return tl::unexpected(Refusal::kClosed);
  Call call;
  call.session_id = spec.session_id;
  call.submitted = now;
  call.queue_deadline = spec.queue_deadline;
  call.deadline = spec.deadline;
  call.bytes = spec.bytes;
  SessionTable::Session* session = nullptr;
  if (!call.session_id.empty()) {
    session = sessions_.Find(spec.session_id, now);
    // A call that cannot be is no use of its session, which else would stay lost as long as it is
    // tried.
    if (session != nullptr && IsLost(*session)) return tl::unexpected(Refusal::kSessionLost);
    session = &UseSession(spec.session_id, now);
    call.session_number = session->number;
    call.is_first_of_session = !(session->established && Serves(*session));
    ArmSessionTimer();
  }
  const Route route = RouteOf(call);
  if (route.kind == Route::Kind::kSessionBusy) return tl::unexpected(Refusal::kSessionBusy);
  if (route.kind != Route::Kind::kDispatch) {
    if (IsOut()) return tl::unexpected(Refusal::kBreakerOpen);
    if (queued_ >= options_.queue.max_calls ||
        call.bytes > options_.queue.max_bytes - queued_bytes_) {
      return tl::unexpected(Refusal::kQueueFull);
    }
  }
  if (session != nullptr) ++session->open_calls;
  const CallId id = ++last_call_;
  Call& entry = calls_.emplace(id, std::move(call)).first->second;
  if (route.kind == Route::Kind::kDispatch) {
    Dispatch(id, entry, route.worker);
    if (any_due_) ReplaceNext(now);
  } else {
    queued_bytes_ += entry.bytes;
    ++queued_;
    timers_.emplace(std::min(entry.queue_deadline, entry.deadline), id);
    Enqueue(id, entry, route);
  }
  return id;
}

bool Core::IsInFlight(CallId id) const {
  auto call = calls_.find(id);
  return call != calls_.end() && call->second.worker >= 0 && !call->second.lost;
}

void Core::CallEnded(CallId id, CallReport report, Time now) {
  if (!IsInFlight(id)) Fault("a call that is not in flight has ended");
  auto call = calls_.find(id);
  const ProcessNumber process = call->second.process;
  const int worker = call->second.worker;
  const bool is_present = workers_[worker].process == process && !call->second.process_gone;
  if (report == CallReport::kLost) {
    if (!is_present) return EndLost(call, now);
    call->second.lost = true;
    call->second.lost_until = std::min(call->second.deadline, now + kExitReportLimit);
    timers_.emplace(call->second.lost_until, id);
    return ConnectionLost(process, now);
  }
  SessionTable::Session* const session = Erase(call, now);
  if (is_present) {
    Worker& state = workers_[worker];
    if (--state.in_flight == 0) state.idle_since = now;
    const bool has_begun = report != CallReport::kUnsent && report != CallReport::kRefused;
    if (session != nullptr && session->process_number == process && has_begun) {
      session->established = true;
    }
    if (report == CallReport::kSucceeded || report == CallReport::kFailed) {
      state.has_served = true;
      if (IsOfItsSeat(worker)) SeatOf(state)->failures = 0;
      if (process == probe_) CloseBreaker(now);
    }
    if (report == CallReport::kFailedOverran) Overran(worker, now);
    if (report == CallReport::kFailedUnusable) GiveUp(worker, KillReason::kOutOfStep, now);
    if (report == CallReport::kRefused) Refused(worker, now);
    IdleIfSo(worker, now);
  }
  Settle(now);
}

void Core::EndLost(Calls::iterator call, Time now) {
  if (call->second.lost) timers_.erase(Timer(call->second.lost_until, call->first));
  if (!call->second.process_gone) --workers_[call->second.worker].in_flight;
  effects_.emplace_back(
      EndCall{.call = call->first, .why = EndCall::Why::kWorkerLost, .exit = call->second.exit});
  Erase(call, now);
}

// A call has its outcome. Its session, if it has one that was not ended meanwhile.
SessionTable::Session* Core::Erase(Calls::iterator call, Time now) {
  SessionTable::Session* session = nullptr;
  if (call->second.session_number != 0) {
    session = sessions_.CallEnded(call->second.session_id, call->second.session_number, now);
  }
  calls_.erase(call);
  return session;
}

void Core::Enqueue(CallId id, Call& call, const Route& route) {
  if (route.kind == Route::Kind::kWait) {
    call.waits_for = route.worker;
    workers_[route.worker].waiting.insert(id);
  } else {
    call.waits_for = -1;
    queue_.insert(id);
  }
}

// Its timer may have fired.
void Core::Dequeue(CallId id, Call& call) {
  timers_.erase(Timer(std::min(call.queue_deadline, call.deadline), id));
  if (call.waits_for >= 0) {
    workers_[call.waits_for].waiting.erase(id);
  } else {
    queue_.erase(id);
  }
  call.waits_for = -1;
  queued_bytes_ -= call.bytes;
  --queued_;
}

void Core::EndQueued(Calls::iterator call, EndCall::Why why, Time now) {
  const int waited_for = call->second.waits_for;
  Dequeue(call->first, call->second);
  effects_.emplace_back(EndCall{.call = call->first, .why = why});
  Erase(call, now);
  if (waited_for >= 0) IdleIfSo(waited_for, now);
}

void Core::EndAllQueued(EndCall::Why why, Time now) {
  while (!queue_.empty()) EndQueued(calls_.find(*queue_.begin()), why, now);
  for (Worker& worker : workers_) {
    while (!worker.waiting.empty()) EndQueued(calls_.find(*worker.waiting.begin()), why, now);
  }
}

void Core::QueuedCallExpired(Calls::iterator call, Time now) {
  const bool past_deadline = call->second.deadline <= call->second.queue_deadline;
  EndQueued(call, past_deadline ? EndCall::Why::kDeadlineExceeded : EndCall::Why::kQueueTimeout,
            now);
}

void Core::Cancel(CallId id, Time now) {
  auto call = calls_.find(id);
  if (call == calls_.end() || call->second.worker >= 0) return;
  EndQueued(call, EndCall::Why::kCancelled, now);
}

std::optional<Core::Time> Core::OldestQueued() const {
  CallId oldest = queue_.empty() ? 0 : *queue_.begin();
  for (const Worker& worker : workers_) {
    if (worker.waiting.empty()) continue;
    const CallId first = *worker.waiting.begin();
    if (oldest == 0 || first < oldest) oldest = first;
  }
  if (oldest == 0) return std::nullopt;
  return calls_.find(oldest)->second.submitted;
}

// --- Sessions ----------------------------------------------------------------------------------

SessionTable::Session& Core::UseSession(std::string_view id, Time now) {
  SessionTable::Session& session = sessions_.Use(id, now, &forgotten_);
  Forgotten(&forgotten_);
  return session;
}

// Of a call that has not ended, and whose session was not ended while it was in flight.
SessionTable::Session& Core::SessionOf(const Call& call) {
  SessionTable::Session* session = sessions_.Find(call.session_id, call.session_number);
  if (session == nullptr) Fault("a session with an open call was forgotten");
  return *session;
}

// From now on the session's state is on that worker. Those of its calls that were queued before it
// had one are to go there, too.
void Core::Bind(SessionTable::Session* session, int worker, CallId except) {
  session->worker = worker;
  session->process_number = workers_[worker].process;
  session->established = false;
  if (session->open_calls < 2) return;
  for (auto next = queue_.begin(); next != queue_.end();) {
    const CallId id = *next;
    Call& call = calls_.find(id)->second;
    const bool is_bound = options_.sessions.affinity != Affinity::kHint || call.is_first_of_session;
    if (id == except || !is_bound || call.session_number != session->number) {
      ++next;
      continue;
    }
    next = queue_.erase(next);
    call.waits_for = worker;
    workers_[worker].waiting.insert(id);
  }
}

void Core::Forgotten(std::vector<SessionTable::Session>* sessions) {
  for (SessionTable::Session& session : *sessions) {
    // Else its state has gone with the process, or there is none yet.
    if (!Serves(session)) continue;
    effects_.emplace_back(
        EndWorkerSession{.process = session.process_number, .session_id = std::move(session.id)});
  }
  sessions->clear();
}

void Core::EndSession(std::string_view session_id, Time now) {
  auto ended = sessions_.Forget(session_id);
  if (!ended) return;
  if (ended->open_calls > 0) {
    // Those that are queued begin the session anew, wherever that is.
    SessionTable::Session* anew = nullptr;
    for (auto& [id, call] : calls_) {
      if (call.worker >= 0 || call.session_number != ended->number) continue;
      if (anew == nullptr) anew = &UseSession(session_id, now);
      ++anew->open_calls;
      call.session_number = anew->number;
      call.is_first_of_session = true;
      if (call.waits_for < 0) continue;
      workers_[call.waits_for].waiting.erase(id);
      call.waits_for = -1;
      queue_.insert(id);
    }
    if (ended->worker >= 0) IdleIfSo(ended->worker, now);
  }
  forgotten_.push_back(std::move(*ended));
  Forgotten(&forgotten_);
  Settle(now);
}

// Whether the process that holds the session's state takes calls, or will do so again.
bool Core::Serves(const SessionTable::Session& session) const {
  return session.worker >= 0 && workers_[session.worker].process == session.process_number &&
         Serves(workers_[session.worker]);
}

// Whether its state is gone, in a mode where no call may do without.
bool Core::IsLost(const SessionTable::Session& session) const {
  return options_.sessions.affinity != Affinity::kHint && session.worker >= 0 && !Serves(session);
}

void Core::ArmSessionTimer() {
  if (!session_timer_ && !stopping_)
    SetTimer(&session_timer_, kSessionTimer, sessions_.NextExpiry());
}

// The worker is in another state: its queued calls may have to go elsewhere, or nowhere.
void Core::WaitingLeave(int worker, Time now) {
  Worker& state = workers_[worker];
  if (state.waiting.empty()) return;
  const bool strict = options_.sessions.affinity != Affinity::kHint;
  // A worker that is replaced in order serves those that were accepted for it.
  if (strict && (Serves(state) || state.state == WorkerState::kDraining)) return;
  if (state.state == WorkerState::kReady) return;
  while (!state.waiting.empty()) {
    auto call = calls_.find(*state.waiting.begin());
    if (strict) {
      EndQueued(call, EndCall::Why::kSessionLost, now);
    } else {
      state.waiting.erase(state.waiting.begin());
      call->second.waits_for = -1;
      queue_.insert(call->first);
    }
  }
}

// --- Routing -----------------------------------------------------------------------------------

// Whether `a` is to be preferred. The load is what share of its capacity a worker uses: where they
// declare different ones, each gets calls in proportion. Among equals it is the one that has waited
// longest, so that all take part.
bool Core::IsLessLoaded(const Worker& a, const Worker& b) {
  const int64_t load_a = int64_t{a.in_flight} * b.capacity;
  const int64_t load_b = int64_t{b.in_flight} * a.capacity;
  return load_a != load_b ? load_a < load_b : a.last_dispatch < b.last_dispatch;
}

int Core::LeastLoadedWorker() const {
  const Worker* best = nullptr;
  int index = -1, best_index = -1;
  for (const Worker& worker : workers_) {
    ++index;
    if (!HasRoom(worker)) continue;
    if (best != nullptr && !IsLessLoaded(worker, *best)) continue;
    best = &worker;
    best_index = index;
  }
  return best_index;
}

Core::Route Core::RouteOf(const Call& call) {
  if (call.session_number != 0) {
    if (auto route = RouteBySession(call, SessionOf(call))) return *route;
  }
  const int worker = LeastLoadedWorker();
  if (worker < 0) return {Route::Kind::kQueue};
  return {Route::Kind::kDispatch, worker};
}

// Where the call's session binds it to; nothing: to no worker.
std::optional<Core::Route> Core::RouteBySession(const Call& call,
                                                const SessionTable::Session& session) const {
  if (session.worker < 0) return std::nullopt;
  const Worker& owner = workers_[session.worker];
  if (options_.sessions.affinity == Affinity::kHint) {
    if (!Serves(session)) return std::nullopt;
    if (HasRoom(owner)) return Route{Route::Kind::kDispatch, session.worker};
    // The first calls of a session agree on one worker; later ones prefer it.
    if (call.is_first_of_session && owner.state == WorkerState::kReady) {
      return Route{Route::Kind::kWait, session.worker};
    }
    return std::nullopt;
  }
  // Its last calls, of a worker that is being replaced.
  const bool finishes = call.waits_for == session.worker && !stopping_ &&
                        owner.process == session.process_number &&
                        owner.state == WorkerState::kDraining;
  if (IsLost(session) && !finishes) return Route{Route::Kind::kSessionLost};
  if (HasRoom(owner) || (finishes && HasSpareCapacity(owner))) {
    return Route{Route::Kind::kDispatch, session.worker};
  }
  // A call that was accepted before its session had a worker waits for it in this mode, too.
  // The pool's own check of a legacy worker is over in a moment.
  const bool is_only_checked =
      owner.state == WorkerState::kReady && owner.in_flight < owner.capacity;
  if (options_.sessions.affinity == Affinity::kStrictFailFast && call.waits_for < 0 &&
      !is_only_checked) {
    return Route{Route::Kind::kSessionBusy};
  }
  return Route{Route::Kind::kWait, session.worker};
}

void Core::Dispatch(CallId id, Call& call, int worker) {
  Worker& state = workers_[worker];
  call.worker = worker;
  call.process = state.process;
  ++state.in_flight;
  ++state.calls_started;
  state.last_dispatch = ++dispatches_;
  if (state.limits.max_calls > 0 && state.calls_started >= state.limits.max_calls) {
    MarkDue(&state, ReplaceReason::kMaxCalls);
  }
  bool moved = false;
  if (call.session_number != 0) {
    SessionTable::Session& session = SessionOf(call);
    const bool is_its_own = session.worker == worker && session.process_number == state.process;
    if (!is_its_own && !Serves(session)) {
      moved = session.worker >= 0;
      Bind(&session, worker, id);
    }
  }
  effects_.emplace_back(DispatchCall{.call = id, .process = state.process, .session_moved = moved});
}

// The queued call that was submitted first of those that a worker has room for; 0: none.
CallId Core::NextToRoute() const {
  CallId next = 0;
  bool any_has_room = false;
  for (const Worker& worker : workers_) {
    const bool has_room = HasRoom(worker);
    any_has_room = any_has_room || has_room;
    if (worker.waiting.empty()) continue;
    const bool finishes = worker.state == WorkerState::kDraining && HasSpareCapacity(worker);
    if (!has_room && !finishes) continue;
    const CallId first = *worker.waiting.begin();
    if (next == 0 || first < next) next = first;
  }
  if (any_has_room && !queue_.empty() && (next == 0 || *queue_.begin() < next)) {
    next = *queue_.begin();
  }
  return next;
}

// Whenever a worker has got room, and whenever one has gone that sessions may have waited for.
void Core::DispatchQueued(Time now) {
  while (queued_ > 0) {
    const CallId id = NextToRoute();
    if (id == 0) return;
    auto entry = calls_.find(id);
    Call& call = entry->second;
    if (std::min(call.queue_deadline, call.deadline) <= now) {
      QueuedCallExpired(entry, now);  // its timer is late
      continue;
    }
    const Route route = RouteOf(call);
    switch (route.kind) {
      case Route::Kind::kDispatch:
        Dequeue(id, call);
        Dispatch(id, call, route.worker);
        break;
      case Route::Kind::kWait:
        // Its session's worker was not well for a while.
        if (call.waits_for >= 0) Fault("a call waits for a worker that has room");
        queue_.erase(id);
        Enqueue(id, call, route);
        break;
      case Route::Kind::kSessionLost:
        EndQueued(entry, EndCall::Why::kSessionLost, now);
        break;
      case Route::Kind::kSessionBusy:
        Fault("a queued call is refused");
      case Route::Kind::kQueue:
        Fault("a call has no worker though one has room");
    }
  }
}

// --- Time --------------------------------------------------------------------------------------

void Core::SetTimer(std::optional<Time>* timer, uint64_t id, std::optional<Time> at) {
  if (*timer == at) return;
  if (*timer) timers_.erase(Timer(**timer, id));
  *timer = at;
  if (at) timers_.emplace(*at, id);
}

void Core::Tick(Time now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const uint64_t id = timers_.begin()->second;
    timers_.erase(timers_.begin());
    if (id == kHealthTimer) {
      health_timer_.reset();
      SetTimer(&health_timer_, kHealthTimer, now + options_.health.interval);
      HealthRound();
    } else if (id == kBreakerTimer) {
      breaker_timer_.reset();
      if (breaker_.state() == BreakerState::kOpen) {
        breaker_.BeginProbe();
      } else {
        CloseBreaker(now);
      }
    } else if (id == kSessionTimer) {
      session_timer_.reset();
      sessions_.Expire(now, &forgotten_);
      Forgotten(&forgotten_);
      // Those that are left have their turn in a moment: other events come first.
      if (const auto next = sessions_.NextExpiry(); next && !stopping_) {
        SetTimer(&session_timer_, kSessionTimer,
                 std::max(*next, now + std::chrono::milliseconds(1)));
      }
    } else if (id >= kRecycleTimer) {
      RecycleTimerFired(static_cast<int>(id - kRecycleTimer), now);
    } else if (id >= kWorkerTimer) {
      WorkerTimerFired(static_cast<int>(id - kWorkerTimer), now);
    } else {
      const auto call = calls_.find(id);
      if (call == calls_.end()) Fault("the timer of a call outlived it");
      if (call->second.lost) {
        EndLost(call, now);
      } else {
        QueuedCallExpired(call, now);
      }
    }
    Settle(now);
  }
}

std::optional<Core::Time> Core::NextWake() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

void Core::TakeEffects(std::vector<Effect>* effects) {
  effects->clear();
  effects->swap(effects_);
}

}  // namespace snakepit
