// Replaces workers that serve, one at a time: those that are due, and all of them in a rolling
// restart.
//
// Invariants:
// - One worker is replaced at a time. It serves until its successor is ready and takes its seat.
// - A successor that does not start leaves the old worker serving; it is replaced later.
// - No replacement begins after Close, or while the breaker is not closed.
#ifndef SNAKEPIT_CORE_REPLACER_H_
#define SNAKEPIT_CORE_REPLACER_H_

#include "snakepit/error.h"
#include "src/core/effects.h"
#include "src/core/lifecycle_driver.h"
#include "src/core/rolling_restart.h"
#include "src/core/roster.h"
#include "src/core/starter.h"
#include "src/core/timers.h"

namespace snakepit {

class Replacer {
 public:
  Replacer(Roster* roster, LifecycleDriver* driver, const Starter* starter, Timers* timers,
           Effects* effects)
      : roster_(*roster),
        driver_(*driver),
        starter_(*starter),
        timers_(*timers),
        effects_(*effects) {}

  // The worker is to be replaced as soon as it may be. An earlier reason stays.
  void MarkDue(WorkerIndex index, ReplaceReason why);
  // Begins the next replacement, if a worker is due.
  void ReplaceDue(SteadyTime now) {
    if (any_due_) ReplaceNext(now);
  }
  // Begins the next replacement, if a worker is due or a restart is under way. Ends a restart that
  // is complete.
  void ReplaceDueOrOld(SteadyTime now) {
    if (any_due_ || restart_.IsRunning()) ReplaceNext(now);
  }

  tl::expected<void, Refusal> Restart(SteadyTime now);
  void FailRestart() { restart_.Fail(); }
  RestartState restart_state() const { return restart_.state(); }

  // The worker is ready: if it is a successor, it takes its seat.
  void WorkerReady(WorkerIndex index, SteadyTime now);
  // The seat's successor did not start.
  void SuccessorFailed(Roster::Seat* seat, SteadyTime now);

  void Close();

  bool any_due() const { return any_due_; }
  // True from the start of a successor until the old worker is gone, or the successor has failed.
  bool IsReplacing() const;

 private:
  void ReplaceNext(SteadyTime now);
  void Replace(const Roster::Seat& seat, SteadyTime now);
  void FinishRestartIfComplete();

  Roster& roster_;
  LifecycleDriver& driver_;
  const Starter& starter_;
  Timers& timers_;
  Effects& effects_;
  RollingRestart restart_;
  WorkerIndex replaced_ = kNoWorker;    // the latest one
  ProcessNumber replaced_process_ = 0;  // its process
  bool any_due_ = false;                // a worker is due, or may be
  bool closed_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_REPLACER_H_
