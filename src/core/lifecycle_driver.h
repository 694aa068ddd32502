// Takes each worker through the table of lifecycle.h: turns events into states, effects and timers.
// The only code that changes the state of a worker.
//
// Invariants:
// - A worker's timer belongs to its state, and is removed with it. Each state that must end by
//   itself has one: starting, stopping, killed, and draining while the pool stops.
// - The recycle timer of a worker is set only while the worker serves.
#ifndef SNAKEPIT_CORE_LIFECYCLE_DRIVER_H_
#define SNAKEPIT_CORE_LIFECYCLE_DRIVER_H_

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "snakepit/options.h"
#include "src/core/effects.h"
#include "src/core/lifecycle.h"
#include "src/core/random.h"
#include "src/core/roster.h"
#include "src/core/timers.h"

namespace snakepit {

class LifecycleDriver {
 public:
  // Time that a worker which closed its connection has to exit by itself, before it is killed: the
  // exit status then tells why.
  static constexpr std::chrono::milliseconds kExitGrace{200};
  // Time that a process which was sent SIGKILL has to be gone. Only a debugger or the kernel can
  // hold it for longer; then the worker goes on without it.
  static constexpr std::chrono::milliseconds kKillLimit{5'000};

  LifecycleDriver(const PoolOptions& options, Roster* roster, SplitMix* random, Timers* timers,
                  Effects* effects)
      : options_(options),
        roster_(*roster),
        random_(*random),
        timers_(*timers),
        effects_(*effects) {}

  void Handle(WorkerIndex index, WorkerEvent event, SteadyTime now);
  // Handles kUnusable: there is no use left for the worker's process.
  void GiveUp(WorkerIndex index, KillReason why, SteadyTime now);
  // Handles kRetire: the worker is surplus from now on.
  void Retire(WorkerIndex index, SteadyTime now);
  // Handles kIdle, if the worker has no call and none waits for it.
  void HandleIfIdle(WorkerIndex index, SteadyTime now);
  // Handles kStop for each worker; no process is started any more.
  void StopAll(SteadyTime now);

  // Sets the timer of a worker that is backing off.
  void StartAfter(WorkerIndex index, int failures, SteadyTime now);
  // Wait before a start after so many failures in a row. Doubles with each up to its maximum, less
  // a random 0-50% (jitter).
  std::chrono::milliseconds Backoff(int failures);

  // Hands over the workers whose state has changed while calls were in their queues.
  std::vector<WorkerIndex> TakeChangedWithQueue() { return std::exchange(changed_with_queue_, {}); }

  int starting() const { return starting_; }
  ProcessNumber last_process() const { return last_process_; }
  bool stopping() const { return stopping_; }

 private:
  void Act(WorkerIndex index, WorkerAction action, SteadyTime now);
  void Spawn(WorkerIndex index);
  void SetTimer(WorkerIndex index, std::optional<SteadyTime> at);

  const PoolOptions& options_;
  Roster& roster_;
  SplitMix& random_;
  Timers& timers_;
  Effects& effects_;
  ProcessNumber last_process_ = 0;
  int starting_ = 0;  // workers in that state
  bool stopping_ = false;
  std::vector<WorkerIndex> changed_with_queue_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_LIFECYCLE_DRIVER_H_
