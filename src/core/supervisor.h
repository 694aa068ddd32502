// The supervisor of a pool: its workers from their start to their end. It starts, checks, replaces
// and ends them. A pure state machine: of the calls it knows only what a WorkerView says, and it
// answers with effects.
//
// Its parts, each with invariants of its own, from the bottom up:
//   Roster           the data: workers and seats
//   LifecycleDriver  takes workers through the table of lifecycle.h
//   Starter          who may start: a limit at a time, and the breaker
//   Replacer         one replacement at a time, and the rolling restart
//   Recycler         who is due: by age, calls, idle time or memory
//   HealthChecks     rounds of checks
//
// Invariants, after each method of Core:
// - The worker of each seat lives, starts, backs off with a timer, or is held by the Starter. While
//   the pool stops it may be gone.
// - A process that ends without having been asked to counts once, as a boot failure or a crash.
#ifndef SNAKEPIT_CORE_SUPERVISOR_H_
#define SNAKEPIT_CORE_SUPERVISOR_H_

#include <cstdint>
#include <vector>

#include "snakepit/error.h"
#include "snakepit/options.h"
#include "src/core/effects.h"
#include "src/core/health_checks.h"
#include "src/core/lifecycle_driver.h"
#include "src/core/random.h"
#include "src/core/recycler.h"
#include "src/core/replacer.h"
#include "src/core/roster.h"
#include "src/core/starter.h"
#include "src/core/timers.h"
#include "src/core/worker_view.h"

namespace snakepit {

class Supervisor {
 public:
  // The options must outlive the supervisor, like the rest. The seed decides all random draws.
  Supervisor(const PoolOptions& options, uint64_t seed, WorkerBoard* board, Timers* timers,
             Effects* effects);

  // Starts every worker. To be called once, before all else.
  void Start(SteadyTime now);

  // News of the worker's present process.
  void Ready(WorkerIndex index, int capacity, bool checks_while_busy, SteadyTime now);
  void Unusable(WorkerIndex index, SteadyTime now);
  void ConnectionLost(WorkerIndex index, SteadyTime now);
  void Exited(WorkerIndex index, SteadyTime now);
  void HealthReported(WorkerIndex index, HealthReport report, SteadyTime now);
  void MemoryMeasured(WorkerIndex index, int64_t rss_bytes);

  // A call was dispatched to the worker. In its view it counts already.
  void CallStarted(WorkerIndex index) { recycler_.CallStarted(index); }
  // A call of the present process has ended. In its view it does not count any more. CallLeft has
  // to follow, once no call is in the worker's queue that cannot go to it.
  void CallEnded(WorkerIndex index, CallReport report, SteadyTime now);
  // A call in flight, or in the worker's queue, is not there any more. kNoWorker: nothing happens.
  void CallLeft(WorkerIndex index, SteadyTime now);

  tl::expected<void, Refusal> Restart(SteadyTime now) { return replacer_.Restart(now); }
  // Wants so many workers from now on.
  void Resize(int workers, SteadyTime now);
  // Replaces no more workers.
  void Close() { replacer_.Close(); }
  // Ends every worker; no process is started any more. The scheduler has stopped before.
  void Stop(SteadyTime now);

  // A timer of the worker's state fired. True: its process was disowned.
  bool WorkerTimerFired(WorkerIndex index, SteadyTime now);
  void RecycleTimerFired(WorkerIndex index, SteadyTime now) { recycler_.TimerFired(index, now); }
  void HealthTimerFired(SteadyTime now) { health_checks_.TimerFired(now); }
  void BreakerTimerFired(SteadyTime now) { starter_.BreakerTimerFired(now); }

  // Hands over the workers whose state has changed while calls were in their queues. The scheduler
  // moves or ends those calls; then CallLeft has to follow.
  std::vector<WorkerIndex> TakeChangedWithQueue() { return driver_.TakeChangedWithQueue(); }
  // After an event: starts what may start now. The probe has to come before the dispatch of queued
  // calls, the rest after it.
  void StartProbe(SteadyTime now) { starter_.StartProbe(now); }
  void StartAndReplace(SteadyTime now);
  // After a dispatch alone: begins the next replacement, if a worker is due.
  void ReplaceDue(SteadyTime now) { replacer_.ReplaceDue(now); }

  // True if no worker serves, nor will one soon.
  bool IsOut() const { return starter_.IsOut(); }
  const Roster& roster() const { return roster_; }
  const Breaker& breaker() const { return starter_.breaker(); }
  RestartState restart_state() const { return replacer_.restart_state(); }

 private:
  void ProcessGone(WorkerIndex index, WorkerEvent event, SteadyTime now);
  void ProcessFailed(WorkerIndex index, SteadyTime now);
  void GiveSeatAway(WorkerIndex index, ReplaceReason why, SteadyTime now);

  const PoolOptions& options_;
  Effects& effects_;
  SplitMix random_;
  Roster roster_;
  LifecycleDriver driver_;
  Starter starter_;
  Replacer replacer_;
  Recycler recycler_;
  HealthChecks health_checks_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_SUPERVISOR_H_
