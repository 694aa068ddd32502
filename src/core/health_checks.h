// Asks workers for their health in rounds, and draws the consequences of their answers.
//
// Invariants:
// - A worker has one check at a time.
// - A worker that cannot answer while it has calls is checked only while it has none, and the check
//   takes the place of a call.
#ifndef SNAKEPIT_CORE_HEALTH_CHECKS_H_
#define SNAKEPIT_CORE_HEALTH_CHECKS_H_

#include <optional>

#include "snakepit/options.h"
#include "src/core/effects.h"
#include "src/core/lifecycle_driver.h"
#include "src/core/recycler.h"
#include "src/core/replacer.h"
#include "src/core/roster.h"
#include "src/core/timers.h"

namespace snakepit {

class HealthChecks {
 public:
  // A worker that reports itself unhealthy so many times in a row is replaced.
  static constexpr int kUnhealthyLimit = 3;

  HealthChecks(const PoolOptions& options, Roster* roster, LifecycleDriver* driver,
               Replacer* replacer, Recycler* recycler, Timers* timers, Effects* effects)
      : options_(options),
        roster_(*roster),
        driver_(*driver),
        replacer_(*replacer),
        recycler_(*recycler),
        timers_(*timers),
        effects_(*effects) {}

  void Start(SteadyTime now);
  // Begins a round: checks each worker, and measures its memory where that is limited.
  void TimerFired(SteadyTime now);
  void Reported(WorkerIndex index, HealthReport report, SteadyTime now);
  // The process is gone, and its check with it.
  void Forget(WorkerIndex index) { SetChecked(index, false); }
  void Stop();

 private:
  void SetChecked(WorkerIndex index, bool is_checked);

  const PoolOptions& options_;
  Roster& roster_;
  LifecycleDriver& driver_;
  Replacer& replacer_;
  Recycler& recycler_;
  Timers& timers_;
  Effects& effects_;
  std::optional<SteadyTime> timer_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_HEALTH_CHECKS_H_
