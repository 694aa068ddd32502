#include "src/core/lifecycle_driver.h"

#include <algorithm>
#include <string>

#include "src/core/fault.h"

namespace snakepit {

void LifecycleDriver::Handle(WorkerIndex index, WorkerEvent event, SteadyTime now) {
  WorkerView& view = roster_.view(index);
  const WorkerState before = view.state;
  const auto [next, action] = NextTransition(before, event);
  if (action == WorkerAction::kForbidden) {
    Fault("a worker that is " + std::string(WorkerStateName(before)) + " got the event '" +
          std::string(WorkerEventName(event)) + "'");
  }
  if (next != before) {
    SetTimer(index, std::nullopt);
    starting_ += (next == WorkerState::kStarting) - (before == WorkerState::kStarting);
    view.state = next;
    if (!view.Serves()) {
      timers_.Set(&roster_[index].recycling.timer, TimerKey(TimerKind::kRecycle, index),
                  std::nullopt);
    }
    if (view.waiting > 0) changed_with_queue_.push_back(index);
  }
  Act(index, action, now);
}

void LifecycleDriver::Act(WorkerIndex index, WorkerAction action, SteadyTime now) {
  Roster::Worker& worker = roster_[index];
  const ProcessNumber process = roster_.view(index).process;
  switch (action) {
    case WorkerAction::kNothing:
    case WorkerAction::kForbidden:
    case WorkerAction::kServe:
    case WorkerAction::kWithhold:
    case WorkerAction::kRetire:
      return;
    case WorkerAction::kSpawn:
      Spawn(index);
      return SetTimer(index, now + options_.adapter.start_timeout);
    case WorkerAction::kFinish:
      return HandleIfIdle(index, now);
    case WorkerAction::kHurry:
      worker.process.kill_reason = KillReason::kHadCalls;
      SetTimer(index, now + options_.stop_grace);
      return HandleIfIdle(index, now);
    case WorkerAction::kAskToEnd:
      worker.process.was_asked_to_end = true;
      worker.process.kill_reason = KillReason::kIgnoredEnd;
      effects_.emplace_back(AskWorkerToEnd{.process = process});
      return SetTimer(index, now + options_.stop_grace);
    case WorkerAction::kAwaitExit:
      worker.process.kill_reason = KillReason::kConnectionClosed;
      return SetTimer(index, now + std::min(kExitGrace, options_.stop_grace));
    case WorkerAction::kKill:
      effects_.emplace_back(KillWorker{.process = process, .why = worker.process.kill_reason});
      return SetTimer(index, now + kKillLimit);
    case WorkerAction::kBackOff:
      if (stopping_ || worker.is_surplus) return Handle(index, WorkerEvent::kRetire, now);
      return StartAfter(index, roster_.SeatOf(index)->failures, now);
  }
}

void LifecycleDriver::Spawn(WorkerIndex index) {
  WorkerView& view = roster_.view(index);
  if (view.process != 0) {
    ++roster_.counts().restarts;
    ++roster_.SeatOf(index)->restarts;
  }
  Roster::Worker& worker = roster_[index];
  worker.process = {};
  worker.health = {};
  worker.recycling = {};
  view = {.id = view.id,
          .state = view.state,
          .process = ++last_process_,
          .capacity = view.capacity,
          .waiting = view.waiting};
  effects_.emplace_back(SpawnWorker{.worker_id = view.id, .process = view.process});
}

void LifecycleDriver::SetTimer(WorkerIndex index, std::optional<SteadyTime> at) {
  timers_.Set(&roster_[index].timer, TimerKey(TimerKind::kWorker, index), at);
}

void LifecycleDriver::GiveUp(WorkerIndex index, KillReason why, SteadyTime now) {
  // A worker that is on its way to its end already keeps its earlier reason.
  const WorkerView& view = roster_.view(index);
  if (view.Serves() || view.state == WorkerState::kStarting ||
      view.state == WorkerState::kDraining) {
    roster_[index].process.kill_reason = why;
  }
  Handle(index, WorkerEvent::kUnusable, now);
}

void LifecycleDriver::Retire(WorkerIndex index, SteadyTime now) {
  roster_[index].is_surplus = true;
  Handle(index, WorkerEvent::kRetire, now);
}

void LifecycleDriver::HandleIfIdle(WorkerIndex index, SteadyTime now) {
  if (roster_.view(index).IsIdle()) Handle(index, WorkerEvent::kIdle, now);
}

void LifecycleDriver::StopAll(SteadyTime now) {
  stopping_ = true;
  for (WorkerIndex index{0}; index != roster_.board().end_index(); ++index) {
    Handle(index, WorkerEvent::kStop, now);
  }
}

void LifecycleDriver::StartAfter(WorkerIndex index, int failures, SteadyTime now) {
  SetTimer(index, now + Backoff(failures));
}

std::chrono::milliseconds LifecycleDriver::Backoff(int failures) {
  if (failures == 0) return std::chrono::milliseconds(0);
  std::chrono::milliseconds wait = options_.restart.initial_backoff;
  for (int i = 1; i < failures && wait < options_.restart.max_backoff; ++i) wait *= 2;
  wait = std::min(wait, options_.restart.max_backoff);
  return wait - std::chrono::milliseconds(random_.UpTo(wait.count() / 2));
}

}  // namespace snakepit
