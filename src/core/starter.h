// Decides which of the workers that back off may start: so many at a time, and none while the
// breaker is open, except one probe.
//
// Invariants:
// - At most PoolOptions::max_starting workers start at a time.
// - While the breaker is open nothing starts; while it is half-open there is one probe at most.
// - A worker that backs off without a timer is held, and starts as soon as it may.
#ifndef SNAKEPIT_CORE_STARTER_H_
#define SNAKEPIT_CORE_STARTER_H_

#include <optional>

#include "snakepit/options.h"
#include "snakepit/stats.h"
#include "src/core/breaker.h"
#include "src/core/lifecycle_driver.h"
#include "src/core/roster.h"
#include "src/core/timers.h"

namespace snakepit {

class Starter {
 public:
  Starter(const PoolOptions& options, Roster* roster, LifecycleDriver* driver, Timers* timers)
      : options_(options),
        roster_(*roster),
        driver_(*driver),
        timers_(*timers),
        breaker_(options) {}

  // Starts a worker that backs off, or holds it until it may start.
  void StartOrHold(WorkerIndex index, SteadyTime now);
  // Starts held workers, as many as may.
  void StartHeld(SteadyTime now) {
    if (any_held_) StartSomeHeld(now);
  }
  // Starts a worker as the probe of a half-open breaker that has none.
  void StartProbe(SteadyTime now);

  // A process ended, or was given up, that the pool had not asked to end.
  void ProcessFailed(ProcessNumber process, bool has_served, SteadyTime now);
  void ProcessReady(ProcessNumber process, SteadyTime now);
  // The process answered a call.
  void ProcessServed(ProcessNumber process, SteadyTime now);
  // The process is no probe any more: it has ended, or gets no more calls.
  void ForgetProbe(ProcessNumber process);

  void BreakerTimerFired(SteadyTime now);
  // Sets the breaker's timer as the breaker wants it. To be called after each event.
  void ArmBreakerTimer() {
    const auto at = driver_.stopping() ? std::nullopt : breaker_.timer();
    if (at != breaker_timer_) timers_.Set(&breaker_timer_, TimerKey(TimerKind::kBreaker), at);
  }

  // True if fewer workers are starting than may at a time.
  bool HasRoom() const;
  bool IsClosed() const { return breaker_.state() == BreakerState::kClosed; }
  // True if no worker serves, nor will one soon.
  bool IsOut() const { return !IsClosed() && !roster_.AnyServes(); }
  const Breaker& breaker() const { return breaker_; }

 private:
  void StartSomeHeld(SteadyTime now);
  void CloseBreaker(SteadyTime now);

  const PoolOptions& options_;
  Roster& roster_;
  LifecycleDriver& driver_;
  Timers& timers_;
  Breaker breaker_;
  ProcessNumber probe_ = 0;  // the half-open breaker's; 0: none
  bool any_held_ = false;    // a worker is held, or may be
  std::optional<SteadyTime> breaker_timer_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_STARTER_H_
