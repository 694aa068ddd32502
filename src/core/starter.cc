#include "src/core/starter.h"

namespace snakepit {

bool Starter::HasRoom() const { return driver_.starting() < options_.max_starting; }

void Starter::StartOrHold(WorkerIndex index, SteadyTime now) {
  if (IsClosed() && HasRoom()) {
    driver_.Handle(index, WorkerEvent::kStart, now);
  } else {
    any_held_ = true;
  }
}

void Starter::StartSomeHeld(SteadyTime now) {
  if (driver_.stopping() || !IsClosed() || !HasRoom()) return;
  any_held_ = false;
  for (const Roster::Seat& seat : roster_.seats()) {
    const bool backs_off = roster_.view(seat.worker).state == WorkerState::kBackingOff;
    if (backs_off && !roster_[seat.worker].timer) StartOrHold(seat.worker, now);
  }
}

void Starter::StartProbe(SteadyTime now) {
  if (breaker_.state() != BreakerState::kHalfOpen || probe_ != 0) return;
  if (driver_.stopping() || !HasRoom()) return;
  for (const Roster::Seat& seat : roster_.seats()) {
    if (roster_.view(seat.worker).state != WorkerState::kBackingOff) continue;
    driver_.Handle(seat.worker, WorkerEvent::kStart, now);
    probe_ = roster_.view(seat.worker).process;
    return;
  }
  CloseBreaker(now);
}

void Starter::CloseBreaker(SteadyTime now) {
  breaker_.Close();
  probe_ = 0;
  StartHeld(now);
}

void Starter::ProcessFailed(ProcessNumber process, bool has_served, SteadyTime now) {
  if (process == probe_) {
    breaker_.ProbeFailed(now);
  } else {
    breaker_.ProcessEnded(has_served, static_cast<int>(roster_.seats().size()), now);
  }
}

void Starter::ProcessReady(ProcessNumber process, SteadyTime now) {
  if (process == probe_) breaker_.ProbeReady(now);
}

void Starter::ProcessServed(ProcessNumber process, SteadyTime now) {
  if (process == probe_) CloseBreaker(now);
}

void Starter::ForgetProbe(ProcessNumber process) {
  if (process == probe_) probe_ = 0;
}

void Starter::BreakerTimerFired(SteadyTime now) {
  breaker_timer_.reset();
  if (breaker_.state() == BreakerState::kOpen) {
    breaker_.BeginProbe();
  } else {
    CloseBreaker(now);
  }
}

}  // namespace snakepit
