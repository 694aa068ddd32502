#include "src/core/supervisor.h"

#include <utility>

namespace snakepit {

Supervisor::Supervisor(const PoolOptions& options, uint64_t seed, WorkerBoard* board,
                       Timers* timers, Effects* effects)
    : options_(options),
      effects_(*effects),
      random_(seed),
      roster_(board),
      driver_(options, &roster_, &random_, timers, effects),
      starter_(options, &roster_, &driver_, timers),
      replacer_(&roster_, &driver_, &starter_, timers, effects),
      recycler_(options.recycle, &roster_, &replacer_, &random_, timers),
      health_checks_(options, &roster_, &driver_, &replacer_, &recycler_, timers, effects) {}

void Supervisor::Start(SteadyTime now) {
  Resize(options_.workers, now);
  health_checks_.Start(now);
}

// --- Processes ---------------------------------------------------------------------------------

void Supervisor::Ready(WorkerIndex index, int capacity, bool checks_while_busy, SteadyTime now) {
  WorkerView& view = roster_.view(index);
  if (view.state == WorkerState::kStarting) {
    Roster::Worker& worker = roster_[index];
    view.capacity = capacity;
    worker.health.checks_while_busy = checks_while_busy;
    worker.process.was_ready = true;
    worker.process.ready_since = now;
    recycler_.DrawLimits(index);
  }
  driver_.Handle(index, WorkerEvent::kReady, now);
  if (view.state != WorkerState::kReady) return;
  recycler_.TimerFired(index, now);
  starter_.ProcessReady(view.process, now);
  replacer_.WorkerReady(index, now);
}

void Supervisor::Unusable(WorkerIndex index, SteadyTime now) {
  driver_.GiveUp(index, KillReason::kNotStarted, now);
}

void Supervisor::ConnectionLost(WorkerIndex index, SteadyTime now) {
  driver_.Handle(index, WorkerEvent::kConnectionLost, now);
}

void Supervisor::Exited(WorkerIndex index, SteadyTime now) {
  ProcessGone(index, WorkerEvent::kExited, now);
}

void Supervisor::HealthReported(WorkerIndex index, HealthReport report, SteadyTime now) {
  health_checks_.Reported(index, report, now);
  driver_.HandleIfIdle(index, now);
}

void Supervisor::MemoryMeasured(WorkerIndex index, int64_t rss_bytes) {
  recycler_.MemoryMeasured(index, rss_bytes);
}

// The process has ended, or is disowned.
void Supervisor::ProcessGone(WorkerIndex index, WorkerEvent event, SteadyTime now) {
  health_checks_.Forget(index);
  if (!driver_.stopping() && !roster_[index].process.was_asked_to_end) ProcessFailed(index, now);
  starter_.ForgetProbe(roster_.view(index).process);
  driver_.Handle(index, event, now);
}

// A process has ended, or is given up, that the pool had not asked to end.
void Supervisor::ProcessFailed(WorkerIndex index, SteadyTime now) {
  const Roster::Worker::Process& process = roster_[index].process;
  ++(process.was_ready ? roster_.counts().crashes : roster_.counts().boot_failures);
  starter_.ProcessFailed(roster_.view(index).process, process.has_served, now);
  if (!process.was_ready || breaker().state() == BreakerState::kOpen) replacer_.FailRestart();
  Roster::Seat* const seat = roster_.SeatOf(index);
  if (seat == nullptr) return;
  if (seat->successor == index) return replacer_.SuccessorFailed(seat, now);
  if (seat->worker != index) return;
  seat->failures = process.has_served ? 0 : seat->failures + 1;
  if (seat->successor == kNoWorker) return;
  seat->worker = std::exchange(seat->successor, kNoWorker);
  roster_[index].is_surplus = true;
}

// Replaces a worker at once that is no good any more; it finishes its calls, and ends.
void Supervisor::GiveSeatAway(WorkerIndex index, ReplaceReason why, SteadyTime now) {
  const WorkerView& view = roster_.view(index);
  if (!view.Serves() || !roster_.IsSeated(index)) return;
  effects_.emplace_back(ReplaceWorker{.process = view.process, .why = why});
  ProcessFailed(index, now);
  roster_[index].process.was_asked_to_end = true;  // its end is no second failure
  if (roster_.IsSeated(index)) {
    const WorkerIndex next = roster_.Add(view.id);
    Roster::Seat* const seat = roster_.SeatOf(index);
    seat->worker = next;
    roster_.view(next).capacity = view.capacity;
    driver_.StartAfter(next, seat->failures, now);
  }
  starter_.ForgetProbe(view.process);
  driver_.Retire(index, now);
}

// --- Calls -------------------------------------------------------------------------------------

void Supervisor::CallEnded(WorkerIndex index, CallReport report, SteadyTime now) {
  switch (report) {
    case CallReport::kSucceeded:
    case CallReport::kFailed:
      roster_[index].process.has_served = true;
      if (roster_.IsSeated(index)) roster_.SeatOf(index)->failures = 0;
      return starter_.ProcessServed(roster_.view(index).process, now);
    case CallReport::kFailedOverran:
      // Its other calls must not suffer: it ends after them.
      if (roster_.view(index).in_flight > 0) {
        return GiveSeatAway(index, ReplaceReason::kOverran, now);
      }
      return driver_.GiveUp(index, KillReason::kOverran, now);
    case CallReport::kFailedUnusable:
      return driver_.GiveUp(index, KillReason::kOutOfStep, now);
    case CallReport::kRefused:
      return GiveSeatAway(index, ReplaceReason::kEnding, now);
    case CallReport::kUnsent:
    case CallReport::kLost:  // ConnectionLost tells it
      return;
  }
}

void Supervisor::CallLeft(WorkerIndex index, SteadyTime now) {
  if (index != kNoWorker) driver_.HandleIfIdle(index, now);
}

// --- The user ----------------------------------------------------------------------------------

void Supervisor::Resize(int workers, SteadyTime now) {
  std::vector<Roster::Seat>& seats = roster_.seats();
  std::vector<WorkerIndex> surplus;
  while (static_cast<int>(seats.size()) > workers) {
    surplus.push_back(seats.back().worker);
    if (seats.back().successor != kNoWorker) surplus.push_back(seats.back().successor);
    seats.pop_back();
  }
  for (WorkerIndex index : surplus) {
    const WorkerView& view = roster_.view(index);
    if (view.Serves()) {
      effects_.emplace_back(ReplaceWorker{.process = view.process, .why = ReplaceReason::kSurplus});
    }
    driver_.Retire(index, now);
  }
  while (static_cast<int>(seats.size()) < workers) {
    const WorkerIndex index = roster_.Add(static_cast<int>(seats.size()));
    seats.push_back({.worker = index});
    starter_.StartOrHold(index, now);
  }
}

void Supervisor::Stop(SteadyTime now) {
  health_checks_.Stop();
  driver_.StopAll(now);
}

// --- Time --------------------------------------------------------------------------------------

bool Supervisor::WorkerTimerFired(WorkerIndex index, SteadyTime now) {
  roster_[index].timer.reset();
  const WorkerView& view = roster_.view(index);
  switch (view.state) {
    case WorkerState::kBackingOff:
      starter_.StartOrHold(index, now);
      return false;
    case WorkerState::kStarting:
      effects_.emplace_back(ReportStartTimeout{.process = view.process});
      driver_.GiveUp(index, KillReason::kNotStarted, now);
      return false;
    case WorkerState::kKilled:
      effects_.emplace_back(DisownProcess{.process = view.process});
      ProcessGone(index, WorkerEvent::kGraceOver, now);
      return true;
    default:
      driver_.Handle(index, WorkerEvent::kGraceOver, now);
      return false;
  }
}

void Supervisor::StartAndReplace(SteadyTime now) {
  starter_.StartHeld(now);
  replacer_.ReplaceDueOrOld(now);
  starter_.ArmBreakerTimer();
}

}  // namespace snakepit
