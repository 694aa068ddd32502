// Decides when a worker is due for replacement though it works: by age, calls, idle time or memory.
//
// Invariant: the limits of a process are drawn once, when it is ready: 90-100% of RecycleOptions,
// so workers that started together are not replaced together.
#ifndef SNAKEPIT_CORE_RECYCLER_H_
#define SNAKEPIT_CORE_RECYCLER_H_

#include <cstdint>

#include "snakepit/options.h"
#include "src/core/random.h"
#include "src/core/replacer.h"
#include "src/core/roster.h"
#include "src/core/timers.h"

namespace snakepit {

class Recycler {
 public:
  Recycler(const RecycleOptions& options, Roster* roster, Replacer* replacer, SplitMix* random,
           Timers* timers)
      : options_(options),
        roster_(*roster),
        replacer_(*replacer),
        random_(*random),
        timers_(*timers) {}

  // Draws the limits of a process that is ready.
  void DrawLimits(WorkerIndex index);
  // Marks the worker as due if it is too old or has been idle for too long. Else sets its timer to
  // the time when it may be: a timer set at each call would cost each of them.
  void TimerFired(WorkerIndex index, SteadyTime now);
  void CallStarted(WorkerIndex index);
  // True if the memory of the worker is to be measured in each health round.
  bool Measures(WorkerIndex index) const;
  void MemoryMeasured(WorkerIndex index, int64_t rss_bytes);

 private:
  int64_t Draw(int64_t limit);
  void CheckTotalMemory();

  const RecycleOptions& options_;
  Roster& roster_;
  Replacer& replacer_;
  SplitMix& random_;
  Timers& timers_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_RECYCLER_H_
