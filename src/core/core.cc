#include "src/core/core.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace snakepit {
namespace {

[[noreturn]] void Fault(std::string_view state, std::string_view event) {
  std::fprintf(stderr, "snakepit: fault of the core: a worker that is %.*s got the event '%.*s'\n",
               static_cast<int>(state.size()), state.data(), static_cast<int>(event.size()),
               event.data());
  std::abort();
}

}  // namespace

Core::Core(const PoolOptions& options)
    : options_(options),
      workers_(options.workers),
      sessions_(options.session_ttl, options.max_sessions) {}

void Core::Start(Time now) {
  for (int w = 0; w < static_cast<int>(workers_.size()); ++w) Handle(w, WorkerEvent::kStart, now);
}

// --- Calls -------------------------------------------------------------------------------------

tl::expected<CallId, ErrorCode> Core::Submit(const CallSpec& spec, Time now) {
  if (closed_) return tl::unexpected(ErrorCode::kUnavailable);
  Call call;
  call.session_id = spec.session_id;
  call.queue_deadline = spec.queue_deadline;
  call.deadline = spec.deadline;
  if (!call.session_id.empty()) {
    const SessionTable::Session& session = UseSession(spec.session_id, now);
    call.is_first_of_session = !(session.established && Holds(session));
  }
  const int worker = WorkerFor(call);
  if (worker < 0 && queue_.size() >= options_.max_queued_calls) {
    return tl::unexpected(ErrorCode::kQueueFull);
  }
  const CallId id = ++last_call_;
  Call& entry = calls_.emplace(id, std::move(call)).first->second;
  if (worker >= 0) {
    Dispatch(id, entry, worker, now);
  } else {
    queue_.insert(id);
    timers_.emplace(std::min(entry.queue_deadline, entry.deadline), id);
  }
  return id;
}

bool Core::IsInFlight(CallId id) const {
  auto call = calls_.find(id);
  return call != calls_.end() && call->second.worker >= 0 && !call->second.lost;
}

void Core::CallEnded(CallId id, CallReport report, Time now) {
  if (!IsInFlight(id)) Fault("not running the call", "call ended");
  auto call = calls_.find(id);
  const ProcessNumber process = call->second.process;
  const int worker = call->second.worker;
  const bool is_present = workers_[worker].process == process;
  if (report == CallReport::kLost) {
    if (call->second.exit) {
      EndLost(call);
    } else {
      call->second.lost = true;
      ConnectionLost(process, now);
    }
    return;
  }
  if (is_present && !call->second.exit) {
    Worker& state = workers_[worker];
    if (report == CallReport::kSucceeded || report == CallReport::kFailed) {
      state.has_served = true;
      state.failures = 0;
    }
    if (!call->second.session_id.empty()) {
      SessionTable::Session* session = sessions_.Find(call->second.session_id);
      if (session != nullptr && session->process_number == process) session->established = true;
    }
    if (report == CallReport::kFailedUnusable) Handle(worker, WorkerEvent::kUnusable, now);
  }
  Leave(call, now);
}

// Takes a call that was in flight off its worker.
void Core::Leave(Calls::iterator call, Time now) {
  const int worker = call->second.worker;
  const bool is_present = workers_[worker].process == call->second.process && !call->second.exit;
  calls_.erase(call);
  if (!is_present) return;
  if (--workers_[worker].in_flight == 0) Handle(worker, WorkerEvent::kIdle, now);
  DispatchQueued(now);
}

void Core::EndLost(Calls::iterator call) {
  effects_.emplace_back(EndCall{.call = call->first,
                                .why = EndCall::Why::kWorkerLost,
                                .worker = call->second.worker,
                                .exit = call->second.exit});
  calls_.erase(call);
}

// Takes a call out of the queue; its timer may have fired.
void Core::EndQueued(Calls::iterator call, EndCall::Why why) {
  const CallId id = call->first;
  timers_.erase(Timer(std::min(call->second.queue_deadline, call->second.deadline), id));
  effects_.emplace_back(EndCall{.call = id, .why = why, .worker = -1, .exit = std::nullopt});
  queue_.erase(id);
  calls_.erase(call);
}

void Core::QueuedCallExpired(CallId id) {
  auto call = calls_.find(id);
  const bool past_deadline = call->second.deadline <= call->second.queue_deadline;
  EndQueued(call, past_deadline ? EndCall::Why::kDeadlineExceeded : EndCall::Why::kQueueTimeout);
}

void Core::Cancel(CallId id) {
  auto call = calls_.find(id);
  if (call == calls_.end() || call->second.worker >= 0) return;
  EndQueued(call, EndCall::Why::kCancelled);
}

// --- Sessions ----------------------------------------------------------------------------------

SessionTable::Session& Core::UseSession(std::string_view id, Time now) {
  SessionTable::Session& session = sessions_.Use(id, now, &forgotten_);
  for (SessionTable::Session& forgotten : forgotten_) Forgotten(std::move(forgotten));
  forgotten_.clear();
  return session;
}

void Core::Forgotten(SessionTable::Session&& session) {
  if (!Holds(session)) return;  // its state has gone with the process, or there is none yet
  effects_.emplace_back(EndWorkerSession{.worker = session.worker,
                                         .process = session.process_number,
                                         .session_id = std::move(session.id)});
}

void Core::EndSession(std::string_view session_id) {
  if (auto session = sessions_.Forget(session_id)) Forgotten(std::move(*session));
}

// --- Routing -----------------------------------------------------------------------------------

bool Core::HasRoom(const Worker& worker) const {
  return worker.state == WorkerState::kReady && worker.in_flight < worker.capacity;
}

// Whether the process that holds the session's state takes calls.
bool Core::Holds(const SessionTable::Session& session) const {
  return session.worker >= 0 && workers_[session.worker].process == session.process_number &&
         workers_[session.worker].state == WorkerState::kReady;
}

// Whether `a` is to be preferred. The load is what share of its capacity a worker uses: where they
// declare different ones, each gets calls in proportion. Among equals it is the one that has waited
// longest, so that all take part.
bool Core::IsLessLoaded(const Worker& a, const Worker& b) {
  const int64_t load_a = int64_t{a.in_flight} * b.capacity;
  const int64_t load_b = int64_t{b.in_flight} * a.capacity;
  return load_a != load_b ? load_a < load_b : a.last_dispatch < b.last_dispatch;
}

int Core::LeastLoadedWorker() const {
  int best = -1;
  for (int w = 0; w < static_cast<int>(workers_.size()); ++w) {
    if (!HasRoom(workers_[w])) continue;
    if (best < 0 || IsLessLoaded(workers_[w], workers_[best])) best = w;
  }
  return best;
}

// The worker that the call is to go to now; -1: it has to wait.
int Core::WorkerFor(const Call& call) {
  if (!call.session_id.empty()) {
    const SessionTable::Session* session = sessions_.Find(call.session_id);
    if (session != nullptr && Holds(*session)) {
      if (HasRoom(workers_[session->worker])) return session->worker;
      // The first calls of a session agree on one worker; later ones prefer it.
      if (call.is_first_of_session) return -1;
    }
  }
  return LeastLoadedWorker();
}

void Core::Dispatch(CallId id, Call& call, int worker, Time now) {
  Worker& state = workers_[worker];
  call.worker = worker;
  call.process = state.process;
  ++state.in_flight;
  ++state.calls_started;
  state.last_dispatch = ++dispatches_;
  if (!call.session_id.empty()) {
    SessionTable::Session& session = UseSession(call.session_id, now);
    if (!Holds(session)) {
      session.worker = worker;
      session.process_number = state.process;
      session.established = false;
    }
  }
  effects_.emplace_back(DispatchCall{.call = id, .worker = worker});
}

// Whenever a worker has got room, and whenever one has gone that sessions may have waited for.
void Core::DispatchQueued(Time now) {
  for (auto next = queue_.begin(); next != queue_.end();) {
    if (LeastLoadedWorker() < 0) return;
    const CallId id = *next;
    Call& call = calls_.find(id)->second;
    const int worker = WorkerFor(call);
    if (worker < 0) {
      ++next;
      continue;
    }
    timers_.erase(Timer(std::min(call.queue_deadline, call.deadline), id));
    next = queue_.erase(next);
    Dispatch(id, call, worker, now);
  }
}

// --- Workers -----------------------------------------------------------------------------------

int Core::WorkerOf(ProcessNumber process) const {
  for (int w = 0; w < static_cast<int>(workers_.size()); ++w) {
    if (workers_[w].process != process) continue;
    const WorkerState state = workers_[w].state;
    return state == WorkerState::kBackingOff || state == WorkerState::kGone ? -1 : w;
  }
  return -1;
}

void Core::Ready(ProcessNumber process, int capacity, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  workers_[worker].capacity = capacity;
  Handle(worker, WorkerEvent::kReady, now);
  DispatchQueued(now);
}

void Core::Unusable(ProcessNumber process, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  Handle(worker, WorkerEvent::kUnusable, now);
  DispatchQueued(now);
}

void Core::ConnectionLost(ProcessNumber process, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  Handle(worker, WorkerEvent::kConnectionLost, now);
  DispatchQueued(now);
}

void Core::Exited(ProcessNumber process, ExitStatus status, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  // The calls that the process had in flight: those known to be lost end now, the others when their
  // transport has noticed; each learns how the process ended.
  for (auto next = calls_.begin(); next != calls_.end();) {
    auto call = next++;
    if (call->second.worker != worker || call->second.process != process) continue;
    call->second.exit = status;
    if (call->second.lost) EndLost(call);
  }
  Worker& state = workers_[worker];
  state.in_flight = 0;
  state.failures = state.has_served ? 0 : state.failures + 1;
  Handle(worker, WorkerEvent::kExited, now);
  DispatchQueued(now);
}

void Core::Handle(int worker, WorkerEvent event, Time now) {
  Worker& state = workers_[worker];
  const auto [next, action] = NextTransition(state.state, event);
  if (action == WorkerAction::kForbidden) {
    Fault(WorkerStateName(state.state), WorkerEventName(event));
  }
  if (next != state.state) SetWorkerTimer(worker, std::nullopt);  // a timer belongs to its state
  state.state = next;
  Act(worker, action, now);
}

void Core::Act(int worker, WorkerAction action, Time now) {
  Worker& state = workers_[worker];
  switch (action) {
    case WorkerAction::kNothing:
    case WorkerAction::kForbidden:
    case WorkerAction::kServe:
    case WorkerAction::kRetire:
      return;
    case WorkerAction::kSpawn:
      if (state.process != 0) ++state.restarts;
      state.process = ++last_process_;
      state.has_served = false;
      effects_.emplace_back(SpawnWorker{.worker = worker, .process = state.process});
      SetWorkerTimer(worker, now + options_.adapter.start_timeout);
      return;
    case WorkerAction::kFinish:
      SetWorkerTimer(worker, now + options_.stop_grace);
      if (state.in_flight == 0) Handle(worker, WorkerEvent::kIdle, now);
      return;
    case WorkerAction::kAskToEnd:
      effects_.emplace_back(AskWorkerToEnd{.worker = worker});
      SetWorkerTimer(worker, now + options_.stop_grace);
      return;
    case WorkerAction::kAwaitExit:
      SetWorkerTimer(worker, now + std::min(kExitGrace, options_.stop_grace));
      return;
    case WorkerAction::kKill:
      effects_.emplace_back(KillWorker{.worker = worker});
      return;
    case WorkerAction::kBackOff:
      if (stopping_) {
        Handle(worker, WorkerEvent::kDrain, now);
      } else {
        SetWorkerTimer(worker, now + BackOff(state));
      }
      return;
  }
}

std::chrono::milliseconds Core::BackOff(const Worker& worker) const {
  if (worker.failures == 0) return std::chrono::milliseconds(0);
  std::chrono::milliseconds wait = options_.restart_backoff;
  for (int i = 1; i < worker.failures && wait < options_.max_restart_backoff; ++i) wait *= 2;
  return std::min(wait, options_.max_restart_backoff);
}

void Core::Stop(Time now) {
  closed_ = true;
  stopping_ = true;
  while (!queue_.empty()) EndQueued(calls_.find(*queue_.begin()), EndCall::Why::kShutdown);
  for (int w = 0; w < static_cast<int>(workers_.size()); ++w) Handle(w, WorkerEvent::kDrain, now);
}

bool Core::AllReady() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& w) { return w.state == WorkerState::kReady; });
}

bool Core::AllGone() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& w) { return w.state == WorkerState::kGone; });
}

// --- Time --------------------------------------------------------------------------------------

void Core::SetWorkerTimer(int worker, std::optional<Time> at) {
  std::optional<Time>& timer = workers_[worker].timer;
  if (timer) timers_.erase(Timer(*timer, kWorkerTimer + worker));
  timer = at;
  if (timer) timers_.emplace(*timer, kWorkerTimer + worker);
}

void Core::WorkerTimerFired(int worker, Time now) {
  workers_[worker].timer.reset();
  switch (workers_[worker].state) {
    case WorkerState::kBackingOff:
      return Handle(worker, WorkerEvent::kStart, now);
    case WorkerState::kStarting:
      effects_.emplace_back(ReportStartTimeout{.worker = worker});
      return Handle(worker, WorkerEvent::kUnusable, now);
    default:
      return Handle(worker, WorkerEvent::kGraceOver, now);
  }
}

void Core::Tick(Time now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const uint64_t id = timers_.begin()->second;
    timers_.erase(timers_.begin());
    if (id >= kWorkerTimer) {
      WorkerTimerFired(static_cast<int>(id - kWorkerTimer), now);
    } else {
      QueuedCallExpired(id);
    }
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
