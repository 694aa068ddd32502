// Core: workers, from their start to their end: restarts, the breaker, health and replacement.
#include <algorithm>
#include <string>
#include <utility>

#include "src/base/splitmix64.h"
#include "src/core/core.h"
#include "src/core/fault.h"

namespace snakepit {

// Whether the process could do one more call, were it to get one.
bool Core::HasSpareCapacity(const Worker& worker) {
  // A check that it cannot answer while it has a call stands for one.
  const int taken = worker.in_flight + (worker.is_checked && !worker.checks_while_busy);
  return taken < worker.capacity;
}

bool Core::HasRoom(const Worker& worker) {
  return worker.state == WorkerState::kReady && HasSpareCapacity(worker);
}

int Core::WorkerOf(ProcessNumber process) const {
  for (int w = 0; w < static_cast<int>(workers_.size()); ++w) {
    if (workers_[w].process != process) continue;
    const WorkerState state = workers_[w].state;
    return state == WorkerState::kBackingOff || state == WorkerState::kGone ? -1 : w;
  }
  return -1;
}

bool Core::AllReady() const {
  return std::all_of(seats_.begin(), seats_.end(), [this](const Seat& seat) {
    return workers_[seat.worker].state == WorkerState::kReady;
  });
}

bool Core::AllGone() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& w) { return w.state == WorkerState::kGone; });
}

// Of the worker's id; null: there are not so many any more.
Core::Seat* Core::SeatOf(const Worker& worker) {
  return static_cast<size_t>(worker.id) < seats_.size() ? &seats_[worker.id] : nullptr;
}

bool Core::IsOfItsSeat(int worker) {
  const Seat* seat = SeatOf(workers_[worker]);
  return seat != nullptr && seat->worker == worker;
}

// --- What became of a process ------------------------------------------------------------------

void Core::Ready(ProcessNumber process, int capacity, bool checks_while_busy, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  Worker& state = workers_[worker];
  if (state.state == WorkerState::kStarting) {
    state.capacity = capacity;
    state.checks_while_busy = checks_while_busy;
    state.was_ready = true;
    state.ready_since = state.idle_since = now;
    DrawLimits(&state);
  }
  Handle(worker, WorkerEvent::kReady, now);
  if (state.state == WorkerState::kReady) {
    RecycleTimerFired(worker, now);
    if (process == probe_) breaker_.ProbeReady(now);
    if (Seat* seat = SeatOf(state); seat != nullptr && seat->successor == worker) {
      const int replaced = std::exchange(seat->worker, worker);
      seat->successor = -1;
      seat->replace_failures = 0;
      ++counts_.recycled;
      Retire(replaced, now);
    }
  }
  Settle(now);
}

void Core::Unusable(ProcessNumber process, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  GiveUp(worker, KillReason::kNotStarted, now);
  Settle(now);
}

void Core::ConnectionLost(ProcessNumber process, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  Handle(worker, WorkerEvent::kConnectionLost, now);
  Settle(now);
}

void Core::Exited(ProcessNumber process, ExitStatus status, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  ProcessGone(worker, status, WorkerEvent::kExited, now);
  Settle(now);
}

// It has ended, as `exit` says, or is disowned.
void Core::ProcessGone(int worker, std::optional<ExitStatus> exit, WorkerEvent event, Time now) {
  Worker& state = workers_[worker];
  // The calls that the process had in flight: those known to be lost end now, the others when their
  // transport has noticed; each learns how the process ended.
  for (auto next = calls_.begin(); next != calls_.end();) {
    auto call = next++;
    if (call->second.worker != worker || call->second.process != state.process) continue;
    call->second.process_gone = true;
    call->second.exit = exit;
    if (call->second.lost) EndLost(call, now);
  }
  state.in_flight = 0;
  state.is_checked = false;
  if (!stopping_ && !state.was_asked_to_end) ProcessFailed(worker, now);
  if (state.process == probe_) probe_ = 0;
  Handle(worker, event, now);
}

// A process has ended, or is given up, that nobody had asked to end.
void Core::ProcessFailed(int worker, Time now) {
  Worker& state = workers_[worker];
  ++(state.was_ready ? counts_.crashes : counts_.boot_failures);
  if (restart_ == RestartState::kRunning && !state.was_ready) restart_ = RestartState::kFailed;
  if (state.process == probe_) {
    breaker_.ProbeFailed(now);
  } else {
    breaker_.ProcessEnded(state.has_served, static_cast<int>(seats_.size()), now);
  }
  if (breaker_.state() == BreakerState::kOpen && restart_ == RestartState::kRunning) {
    restart_ = RestartState::kFailed;
  }
  Seat* const seat = SeatOf(state);
  if (seat == nullptr) return;
  if (seat->successor == worker) {
    // The one that it was to replace serves on, and is replaced later.
    state.is_surplus = true;
    seat->successor = -1;
    replaced_ = -1;
    seat->replace_not_before = now + BackOff(++seat->replace_failures);
    Worker& served = workers_[seat->worker];
    if (Serves(served)) {
      SetTimer(&served.recycle_timer, kRecycleTimer + seat->worker, seat->replace_not_before);
    }
  } else if (seat->worker == worker) {
    seat->failures = state.has_served ? 0 : seat->failures + 1;
    if (seat->successor >= 0) {
      seat->worker = std::exchange(seat->successor, -1);
      state.is_surplus = true;
    }
  }
}

// Given up a call, and then went on with it for longer than it may. Its other calls are not to
// suffer for that: where there are some, it is replaced at once and ends after them.
void Core::Overran(int worker, Time now) {
  Worker& state = workers_[worker];
  if (state.in_flight == 0) return GiveUp(worker, KillReason::kOverran, now);
  GiveSeatAway(worker, ReplaceReason::kOverran, now);
}

// Has a worker that is no good any more replaced at once; it finishes its calls, and ends.
void Core::GiveSeatAway(int worker, ReplaceReason why, Time now) {
  Worker& state = workers_[worker];
  if (!Serves(state) || !IsOfItsSeat(worker)) return;
  effects_.emplace_back(ReplaceWorker{.process = state.process, .why = why});
  ProcessFailed(worker, now);
  state.was_asked_to_end = true;  // its end is no second failure
  if (Seat& seat = seats_[state.id]; seat.worker == worker) {
    seat.worker = AddWorker(state.id);
    Worker& next = workers_[seat.worker];
    next.capacity = state.capacity;
    SetTimer(&next.timer, kWorkerTimer + seat.worker, now + BackOff(seat.failures));
  }
  if (state.process == probe_) probe_ = 0;
  Retire(worker, now);
}

// It is ending, though nobody here has asked it to: what waits for it waits in vain.
void Core::Refused(int worker, Time now) {
  GiveSeatAway(worker, ReplaceReason::kEnding, now);
  std::set<CallId>& waiting = workers_[worker].waiting;
  while (!waiting.empty()) {
    EndQueued(calls_.find(*waiting.begin()), EndCall::Why::kSessionLost, now);
  }
}

// --- The life cycle ----------------------------------------------------------------------------

void Core::Handle(int worker, WorkerEvent event, Time now) {
  Worker& state = workers_[worker];
  const WorkerState before = state.state;
  const auto [next, action] = NextTransition(before, event);
  if (action == WorkerAction::kForbidden) {
    Fault("a worker that is " + std::string(WorkerStateName(before)) + " got the event '" +
          std::string(WorkerEventName(event)) + "'");
  }
  if (next != before) {
    // A timer belongs to its state.
    SetTimer(&state.timer, kWorkerTimer + worker, std::nullopt);
    starting_ += (next == WorkerState::kStarting) - (before == WorkerState::kStarting);
    state.state = next;
    if (!Serves(state)) SetTimer(&state.recycle_timer, kRecycleTimer + worker, std::nullopt);
    WaitingLeave(worker, now);
  }
  Act(worker, action, now);
}

void Core::Act(int worker, WorkerAction action, Time now) {
  Worker& state = workers_[worker];
  const auto set_timer = [&](std::chrono::milliseconds wait) {
    SetTimer(&state.timer, kWorkerTimer + worker, now + wait);
  };
  switch (action) {
    case WorkerAction::kNothing:
    case WorkerAction::kForbidden:
    case WorkerAction::kServe:
    case WorkerAction::kWithhold:
      return;
    case WorkerAction::kSpawn:
      if (state.process != 0) {
        ++counts_.restarts;
        ++seats_[state.id].restarts;
      }
      state.process = ++last_process_;
      state.was_ready = state.has_served = state.was_asked_to_end = state.is_measured = false;
      state.due.reset();
      state.unhealthy_in_a_row = 0;
      state.calls_started = 0;
      state.last_dispatch = 0;
      state.rss_bytes = state.rss_baseline_bytes = 0;
      effects_.emplace_back(SpawnWorker{.worker_id = state.id, .process = state.process});
      set_timer(options_.adapter.start_timeout);
      return;
    case WorkerAction::kFinish:
      return IdleIfSo(worker, now);
    case WorkerAction::kHurry:
      state.kill_reason = KillReason::kHadCalls;
      set_timer(options_.stop_grace);
      return IdleIfSo(worker, now);
    case WorkerAction::kAskToEnd:
      state.was_asked_to_end = true;
      state.kill_reason = KillReason::kIgnoredEnd;
      effects_.emplace_back(AskWorkerToEnd{.process = state.process});
      set_timer(options_.stop_grace);
      return;
    case WorkerAction::kAwaitExit:
      state.kill_reason = KillReason::kConnectionClosed;
      set_timer(std::min(kExitGrace, options_.stop_grace));
      return;
    case WorkerAction::kKill:
      effects_.emplace_back(KillWorker{.process = state.process, .why = state.kill_reason});
      set_timer(kKillLimit);
      return;
    case WorkerAction::kBackOff:
      if (stopping_ || state.is_surplus) return Handle(worker, WorkerEvent::kRetire, now);
      set_timer(BackOff(seats_[state.id].failures));
      return;
    case WorkerAction::kRetire:
      if (worker == replaced_) replaced_ = -1;
      return;
  }
}

// No use is left for its process.
void Core::GiveUp(int worker, KillReason why, Time now) {
  // It keeps an earlier reason, where it is on its way to its end already.
  if (Serves(workers_[worker]) || workers_[worker].state == WorkerState::kStarting ||
      workers_[worker].state == WorkerState::kDraining) {
    workers_[worker].kill_reason = why;
  }
  Handle(worker, WorkerEvent::kUnusable, now);
}

void Core::IdleIfSo(int worker, Time now) {
  const Worker& state = workers_[worker];
  if (state.in_flight > 0 || !state.waiting.empty()) return;
  Handle(worker, WorkerEvent::kIdle, now);
}

// A new worker, which is backing off; its index.
int Core::AddWorker(int id) {
  for (int w = 0; w < static_cast<int>(workers_.size()); ++w) {
    if (workers_[w].state != WorkerState::kGone) continue;
    workers_[w] = Worker{.id = id};
    return w;
  }
  workers_.push_back(Worker{.id = id});
  return static_cast<int>(workers_.size()) - 1;
}

void Core::Retire(int worker, Time now) {
  workers_[worker].is_surplus = true;
  Handle(worker, WorkerEvent::kRetire, now);
}

void Core::Close() {
  closed_ = true;
  if (restart_ == RestartState::kRunning) restart_ = RestartState::kFailed;
}

void Core::Stop(Time now) {
  if (stopping_) return;
  Close();
  stopping_ = true;
  EndAllQueued(EndCall::Why::kShutdown, now);
  SetTimer(&health_timer_, kHealthTimer, std::nullopt);
  SetTimer(&session_timer_, kSessionTimer, std::nullopt);
  for (int w = 0; w < static_cast<int>(workers_.size()); ++w) Handle(w, WorkerEvent::kStop, now);
  Settle(now);
}

void Core::WorkerTimerFired(int worker, Time now) {
  workers_[worker].timer.reset();
  switch (workers_[worker].state) {
    case WorkerState::kBackingOff:
      return StartOrHold(worker, now);
    case WorkerState::kStarting:
      effects_.emplace_back(ReportStartTimeout{.process = workers_[worker].process});
      return GiveUp(worker, KillReason::kNotStarted, now);
    case WorkerState::kKilled:
      effects_.emplace_back(DisownProcess{.process = workers_[worker].process});
      return ProcessGone(worker, std::nullopt, WorkerEvent::kGraceOver, now);
    default:
      return Handle(worker, WorkerEvent::kGraceOver, now);
  }
}

// Whatever may have changed, nothing waits that could go on.
void Core::Settle(Time now) {
  if (breaker_.state() == BreakerState::kHalfOpen && probe_ == 0) ProbeNext(now);
  if (!queue_.empty() && IsOut()) {
    while (!queue_.empty()) {
      EndQueued(calls_.find(*queue_.begin()), EndCall::Why::kBreakerOpen, now);
    }
  }
  DispatchQueued(now);
  if (any_held_) StartHeld(now);
  if (any_due_ || restart_ == RestartState::kRunning) ReplaceNext(now);
  SetTimer(&breaker_timer_, kBreakerTimer, stopping_ ? std::nullopt : breaker_.timer());
}

// --- Restarts and the breaker ------------------------------------------------------------------

std::chrono::milliseconds Core::BackOff(int failures) {
  if (failures == 0) return std::chrono::milliseconds(0);
  std::chrono::milliseconds wait = options_.restart.initial_backoff;
  for (int i = 1; i < failures && wait < options_.restart.max_backoff; ++i) wait *= 2;
  wait = std::min(wait, options_.restart.max_backoff);
  return wait - std::chrono::milliseconds(Random() % (wait.count() / 2 + 1));
}

// Whether no worker serves, nor is to be expected to soon.
bool Core::IsOut() const {
  return breaker_.state() != BreakerState::kClosed &&
         std::none_of(workers_.begin(), workers_.end(), [](const Worker& w) { return Serves(w); });
}

// Whether fewer workers are starting than may at a time.
bool Core::MayStart() const { return starting_ < options_.max_starting; }

// Starts a worker that backs off, unless it has to wait for the breaker, or for the starts of
// others: then it backs off without a timer.
void Core::StartOrHold(int worker, Time now) {
  if (breaker_.state() == BreakerState::kClosed && MayStart()) {
    Handle(worker, WorkerEvent::kStart, now);
  } else {
    any_held_ = true;
  }
}

// Starts those that StartOrHold has held, as many as may be.
void Core::StartHeld(Time now) {
  if (stopping_ || breaker_.state() != BreakerState::kClosed || !MayStart()) return;
  any_held_ = false;
  for (const Seat& seat : seats_) {
    const Worker& worker = workers_[seat.worker];
    if (worker.state == WorkerState::kBackingOff && !worker.timer) StartOrHold(seat.worker, now);
  }
}

// Starts one of the workers that wait for the half-open breaker.
void Core::ProbeNext(Time now) {
  if (stopping_ || !MayStart()) return;
  for (const Seat& seat : seats_) {
    if (workers_[seat.worker].state != WorkerState::kBackingOff) continue;
    Handle(seat.worker, WorkerEvent::kStart, now);
    probe_ = workers_[seat.worker].process;
    return;
  }
  CloseBreaker(now);
}

void Core::CloseBreaker(Time now) {
  breaker_.Close();
  probe_ = 0;
  StartHeld(now);
}

// --- Health ------------------------------------------------------------------------------------

void Core::HealthRound() {
  for (Worker& worker : workers_) {
    if (!Serves(worker) && worker.state != WorkerState::kDraining) continue;
    const bool is_limited =
        worker.limits.max_rss_growth_bytes > 0 || options_.recycle.max_total_rss_bytes > 0;
    if (is_limited && Serves(worker)) {
      worker.is_measured = true;
      effects_.emplace_back(MeasureWorker{.process = worker.process});
    }
    if (worker.is_checked || (!worker.checks_while_busy && worker.in_flight > 0)) continue;
    worker.is_checked = true;
    effects_.emplace_back(CheckWorker{.process = worker.process});
  }
}

void Core::HealthReported(ProcessNumber process, HealthReport report, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  Worker& state = workers_[worker];
  state.is_checked = false;
  switch (report) {
    case HealthReport::kUnknown:
      break;
    case HealthReport::kHealthy:
      state.unhealthy_in_a_row = 0;
      Handle(worker, WorkerEvent::kHealthy, now);
      break;
    case HealthReport::kUnhealthy:
      Handle(worker, WorkerEvent::kUnhealthy, now);
      if (++state.unhealthy_in_a_row >= kUnhealthyLimit && Serves(state)) {
        MarkDue(&state, ReplaceReason::kUnhealthy);
      }
      break;
    case HealthReport::kSilent:
      GiveUp(worker, KillReason::kSilent, now);
      break;
    case HealthReport::kLost:
      // One that has calls may be finishing them, and their transport tells what becomes of them.
      if (state.in_flight == 0) Handle(worker, WorkerEvent::kConnectionLost, now);
      break;
  }
  IdleIfSo(worker, now);
  Settle(now);
}

void Core::MemoryMeasured(ProcessNumber process, int64_t rss_bytes, Time now) {
  const int worker = WorkerOf(process);
  if (worker < 0 || !Serves(workers_[worker])) return;
  Worker& state = workers_[worker];
  state.is_measured = false;
  state.rss_bytes = rss_bytes;
  if (state.rss_baseline_bytes == 0) {
    // What its first calls leave, not what they have while they run.
    const int64_t calls_ended = state.calls_started - state.in_flight;
    if (calls_ended >= state.limits.warm_up_calls) state.rss_baseline_bytes = rss_bytes;
  } else if (state.limits.max_rss_growth_bytes > 0 &&
             rss_bytes - state.rss_baseline_bytes > state.limits.max_rss_growth_bytes) {
    MarkDue(&state, ReplaceReason::kRssGrowth);
  }
  LookAtTotalMemory();
  Settle(now);
}

// Has the largest worker replaced when all have been measured and have too much together. Not
// another one while one is, or is to be: the figures will be others after it.
void Core::LookAtTotalMemory() {
  if (options_.recycle.max_total_rss_bytes == 0 || any_due_ || replaced_ >= 0) return;
  int64_t total = 0;
  Worker* largest = nullptr;
  for (Worker& worker : workers_) {
    if (!Serves(worker)) continue;
    if (worker.is_measured) return;
    total += worker.rss_bytes;
    // One that is not warm has nothing yet that a fresh one would not have.
    if (worker.rss_baseline_bytes == 0 || worker.is_surplus) continue;
    if (largest == nullptr || worker.rss_bytes > largest->rss_bytes) largest = &worker;
  }
  if (largest == nullptr || total <= options_.recycle.max_total_rss_bytes) return;
  MarkDue(largest, ReplaceReason::kTotalRss);
}

// --- Replacement -------------------------------------------------------------------------------

uint64_t Core::Random() { return SplitMix64(random_); }

// From nine tenths of the limit to the limit; 0 for 0.
int64_t Core::Draw(int64_t limit) {
  return limit - static_cast<int64_t>(Random() % (limit / 10 + 1));
}

void Core::DrawLimits(Worker* worker) {
  const RecycleOptions& given = options_.recycle;
  worker->limits = {.max_age = std::chrono::milliseconds(Draw(given.max_age.count())),
                    .max_calls = Draw(given.max_calls),
                    .max_rss_growth_bytes = Draw(given.max_rss_growth_bytes),
                    .warm_up_calls = given.warm_up_calls,
                    .max_idle = std::chrono::milliseconds(Draw(given.max_idle.count()))};
}

void Core::MarkDue(Worker* worker, ReplaceReason why) {
  if (!worker->due) worker->due = why;
  any_due_ = true;
}

// Looks whether a ready worker is too old or has been idle for too long, and sets its timer to when
// it may be. Not set at each call, which would cost each of them.
void Core::RecycleTimerFired(int worker, Time now) {
  Worker& state = workers_[worker];
  state.recycle_timer.reset();
  if (state.due) {
    any_due_ = true;  // its last replacement failed
    return;
  }
  std::optional<Time> next;
  const auto look = [&](std::chrono::milliseconds limit, Time since, ReplaceReason why) {
    if (limit.count() == 0) return;
    if (now - since >= limit) {
      MarkDue(&state, why);
    } else {
      next = next ? std::min(*next, since + limit) : since + limit;
    }
  };
  look(state.limits.max_age, state.ready_since, ReplaceReason::kMaxAge);
  if (state.calls_started == 0 || state.in_flight > 0) {
    // There is nothing to get rid of, or it is not idle.
    if (state.limits.max_idle.count() > 0) {
      const Time later = now + state.limits.max_idle;
      next = next ? std::min(*next, later) : later;
    }
  } else {
    look(state.limits.max_idle, state.idle_since, ReplaceReason::kMaxIdle);
  }
  if (!state.due) SetTimer(&state.recycle_timer, kRecycleTimer + worker, next);
}

tl::expected<void, Refusal> Core::Restart(Time now) {
  if (closed_) return tl::unexpected(Refusal::kClosed);
  if (breaker_.state() != BreakerState::kClosed) return tl::unexpected(Refusal::kBreakerOpen);
  if (restart_ == RestartState::kRunning) return {};  // joined
  restart_ = RestartState::kRunning;
  restart_up_to_ = last_process_;
  for (Seat& seat : seats_) seat.replace_not_before = now;
  Settle(now);
  return {};
}

// Starts the successor of the next worker that is to be replaced, of the longest-lived process, if
// none is being replaced.
void Core::ReplaceNext(Time now) {
  const bool restarts = restart_ == RestartState::kRunning;
  if (replaced_ >= 0 || closed_ || breaker_.state() != BreakerState::kClosed) return;
  if (!MayStart()) return;
  bool any_due = false;
  const Seat* next = nullptr;
  for (const Seat& seat : seats_) {
    const Worker& worker = workers_[seat.worker];
    if (!Serves(worker)) continue;
    if (!worker.due && !(restarts && worker.process <= restart_up_to_)) continue;
    any_due = any_due || worker.due;
    if (seat.replace_not_before > now) continue;
    if (next == nullptr || worker.process < workers_[next->worker].process) next = &seat;
  }
  if (next != nullptr) {
    replaced_ = next->worker;
    const Worker& old = workers_[replaced_];
    effects_.emplace_back(
        ReplaceWorker{.process = old.process, .why = old.due.value_or(ReplaceReason::kRestart)});
    const int id = old.id;
    const int successor = AddWorker(id);
    workers_[successor].capacity = workers_[replaced_].capacity;
    seats_[id].successor = successor;
    return Handle(successor, WorkerEvent::kStart, now);
  }
  any_due_ = any_due;
  if (!restarts) return;
  const bool all_serve = std::all_of(seats_.begin(), seats_.end(), [this](const Seat& seat) {
    return Serves(workers_[seat.worker]);
  });
  const bool old_are_gone =
      std::all_of(workers_.begin(), workers_.end(), [this](const Worker& worker) {
        return worker.state == WorkerState::kGone || worker.process > restart_up_to_;
      });
  if (all_serve && old_are_gone) restart_ = RestartState::kDone;
}

tl::expected<void, Refusal> Core::Resize(int workers, Time now) {
  if (closed_) return tl::unexpected(Refusal::kClosed);
  std::vector<int> surplus;
  while (static_cast<int>(seats_.size()) > workers) {
    surplus.push_back(seats_.back().worker);
    if (seats_.back().successor >= 0) surplus.push_back(seats_.back().successor);
    seats_.pop_back();
  }
  for (int worker : surplus) {
    if (Serves(workers_[worker])) {
      effects_.emplace_back(
          ReplaceWorker{.process = workers_[worker].process, .why = ReplaceReason::kSurplus});
    }
    Retire(worker, now);
  }
  while (static_cast<int>(seats_.size()) < workers) {
    const int id = static_cast<int>(seats_.size());
    const int worker = AddWorker(id);
    seats_.push_back({.worker = worker});
    StartOrHold(worker, now);
  }
  Settle(now);
  return {};
}

}  // namespace snakepit
