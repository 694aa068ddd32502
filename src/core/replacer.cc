#include "src/core/replacer.h"

#include <algorithm>
#include <utility>

namespace snakepit {

void Replacer::MarkDue(WorkerIndex index, ReplaceReason why) {
  std::optional<ReplaceReason>& due = roster_[index].recycling.due;
  if (!due) due = why;
  any_due_ = true;
}

bool Replacer::IsReplacing() const {
  if (replaced_ == kNoWorker) return false;
  // The entry of a gone worker may have another one by now.
  const WorkerView& old = roster_.board()[replaced_];
  return old.process == replaced_process_ && old.state != WorkerState::kGone;
}

// Takes the worker of the longest-lived process first.
void Replacer::ReplaceNext(SteadyTime now) {
  if (IsReplacing() || closed_ || !starter_.IsClosed() || !starter_.HasRoom()) return;
  bool any_due = false;
  const Roster::Seat* next = nullptr;
  ProcessNumber next_process = 0;
  for (const Roster::Seat& seat : roster_.seats()) {
    const WorkerView& view = roster_.view(seat.worker);
    if (!view.Serves()) continue;
    const bool is_due = roster_[seat.worker].recycling.due.has_value();
    if (!is_due && !(restart_.IsRunning() && restart_.IsOld(view.process))) continue;
    any_due = any_due || is_due;
    if (seat.replace_not_before > now) continue;
    if (next != nullptr && next_process < view.process) continue;
    next = &seat;
    next_process = view.process;
  }
  if (next != nullptr) return Replace(*next, now);
  any_due_ = any_due;
  if (restart_.IsRunning()) FinishRestartIfComplete();
}

void Replacer::Replace(const Roster::Seat& seat, SteadyTime now) {
  replaced_ = seat.worker;
  const WorkerView& old = roster_.view(replaced_);
  replaced_process_ = old.process;
  effects_.emplace_back(
      ReplaceWorker{.process = old.process,
                    .why = roster_[replaced_].recycling.due.value_or(ReplaceReason::kRestart)});
  const WorkerIndex successor = roster_.Add(old.id);
  roster_.view(successor).capacity = old.capacity;
  roster_.SeatOf(successor)->successor = successor;
  driver_.Handle(successor, WorkerEvent::kStart, now);
}

void Replacer::WorkerReady(WorkerIndex index, SteadyTime now) {
  Roster::Seat* const seat = roster_.SeatOf(index);
  if (seat == nullptr || seat->successor != index) return;
  const WorkerIndex old = std::exchange(seat->worker, index);
  seat->successor = kNoWorker;
  seat->replace_failures = 0;
  ++roster_.counts().recycled;
  driver_.Retire(old, now);
}

void Replacer::SuccessorFailed(Roster::Seat* seat, SteadyTime now) {
  roster_[seat->successor].is_surplus = true;
  seat->successor = kNoWorker;
  replaced_ = kNoWorker;
  seat->replace_not_before = now + driver_.Backoff(++seat->replace_failures);
  if (!roster_.view(seat->worker).Serves()) return;
  timers_.Set(&roster_[seat->worker].recycling.timer, TimerKey(TimerKind::kRecycle, seat->worker),
              seat->replace_not_before);
}

tl::expected<void, Refusal> Replacer::Restart(SteadyTime now) {
  if (closed_) return tl::unexpected(Refusal::kClosed);
  if (!starter_.IsClosed()) return tl::unexpected(Refusal::kBreakerOpen);
  if (restart_.IsRunning()) return {};  // the caller joins it
  restart_.Begin(driver_.last_process());
  for (Roster::Seat& seat : roster_.seats()) seat.replace_not_before = now;
  return {};
}

void Replacer::FinishRestartIfComplete() {
  const WorkerBoard& board = roster_.board();
  const bool old_are_gone =
      std::all_of(board.begin(), board.end(), [this](const WorkerView& worker) {
        return worker.state == WorkerState::kGone || !restart_.IsOld(worker.process);
      });
  if (old_are_gone && roster_.AllServe()) restart_.Finish();
}

void Replacer::Close() {
  closed_ = true;
  restart_.Fail();
}

}  // namespace snakepit
