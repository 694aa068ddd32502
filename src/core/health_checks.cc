#include "src/core/health_checks.h"

namespace snakepit {
namespace {

constexpr TimerKey kTimer(TimerKind::kHealth);

}  // namespace

void HealthChecks::Start(SteadyTime now) {
  if (options_.health.interval.count() == 0) return;
  timers_.Set(&timer_, kTimer, now + options_.health.interval);
}

void HealthChecks::Stop() { timers_.Set(&timer_, kTimer, std::nullopt); }

void HealthChecks::SetChecked(WorkerIndex index, bool is_checked) {
  Roster::Worker::Health& health = roster_[index].health;
  health.is_checked = is_checked;
  roster_.view(index).check_is_call = is_checked && !health.checks_while_busy;
}

void HealthChecks::TimerFired(SteadyTime now) {
  timer_.reset();
  timers_.Set(&timer_, kTimer, now + options_.health.interval);
  const WorkerBoard& board = roster_.board();
  for (WorkerIndex index{0}; index != board.end_index(); ++index) {
    const WorkerView& view = board[index];
    if (!view.Serves() && view.state != WorkerState::kDraining) continue;
    Roster::Worker& worker = roster_[index];
    if (recycler_.Measures(index)) {
      worker.recycling.is_measured = true;
      effects_.emplace_back(MeasureWorker{.process = view.process});
    }
    const bool can_answer = worker.health.checks_while_busy || view.in_flight == 0;
    if (worker.health.is_checked || !can_answer) continue;
    SetChecked(index, true);
    effects_.emplace_back(CheckWorker{.process = view.process});
  }
}

void HealthChecks::Reported(WorkerIndex index, HealthReport report, SteadyTime now) {
  SetChecked(index, false);
  Roster::Worker::Health& health = roster_[index].health;
  switch (report) {
    case HealthReport::kUnknown:
      return;
    case HealthReport::kHealthy:
      health.unhealthy_in_a_row = 0;
      return driver_.Handle(index, WorkerEvent::kHealthy, now);
    case HealthReport::kUnhealthy:
      driver_.Handle(index, WorkerEvent::kUnhealthy, now);
      if (++health.unhealthy_in_a_row >= kUnhealthyLimit && roster_.view(index).Serves()) {
        replacer_.MarkDue(index, ReplaceReason::kUnhealthy);
      }
      return;
    case HealthReport::kSilent:
      return driver_.GiveUp(index, KillReason::kSilent, now);
    case HealthReport::kLost:
      // A worker that has calls may be finishing them; their transport reports how they end.
      if (roster_.view(index).in_flight == 0) {
        driver_.Handle(index, WorkerEvent::kConnectionLost, now);
      }
      return;
  }
}

}  // namespace snakepit
