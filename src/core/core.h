// The core of a pool: a scheduler, which gives calls to workers, and a supervisor, which keeps the
// workers alive. A pure state machine: its methods tell it the events and the time, and it answers
// with effects that others carry out. No I/O, no threads, no clock of its own; not synchronised.
//
// The two machines do not know each other. They share a WorkerView for each worker, and Core takes
// each event to them in turn, until nothing is left to do.
#ifndef SNAKEPIT_CORE_CORE_H_
#define SNAKEPIT_CORE_CORE_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "snakepit/error.h"
#include "snakepit/options.h"
#include "snakepit/stats.h"
#include "src/core/effects.h"
#include "src/core/scheduler.h"
#include "src/core/supervisor.h"
#include "src/core/timers.h"
#include "src/core/worker_view.h"

namespace snakepit {

class Core {
 public:
  using Time = SteadyTime;
  using CallSpec = Scheduler::CallSpec;
  using Worker = WorkerView;
  using Seat = Roster::Seat;

  static constexpr auto kExitGrace = LifecycleDriver::kExitGrace;
  static constexpr auto kKillLimit = LifecycleDriver::kKillLimit;
  static constexpr auto kExitReportLimit = Scheduler::kExitReportLimit;
  static constexpr auto kUnhealthyLimit = HealthChecks::kUnhealthyLimit;

  // Takes from the options what concerns it; they are valid, workers over 0. The seed decides all
  // random draws.
  Core(const PoolOptions& options, uint64_t seed);
  Core(const Core&) = delete;

  // Starts every worker. To be called once, before all else.
  void Start(Time now);

  // Accepts a new call and returns its id, or refuses it.
  tl::expected<CallId, Refusal> Submit(const CallSpec& spec, Time now);
  // The caller gave the call up. A queued call ends. A dispatched one goes on until its transport
  // reports. A call that has ended is not known any more: nothing happens.
  void Cancel(CallId call, Time now);
  // The transport is finished with a call that was dispatched.
  void CallEnded(CallId call, CallReport report, Time now);

  // The user ended the session. A call of it that is still queued then begins it anew.
  void EndSession(std::string_view session_id, Time now);

  // News of a process. Ignored when it is not the present process of its worker. `capacity`: calls
  // that it takes at a time, over 0.
  void Ready(ProcessNumber process, int capacity, bool checks_while_busy, Time now);
  void Unusable(ProcessNumber process, Time now);
  void ConnectionLost(ProcessNumber process, Time now);
  void Exited(ProcessNumber process, ExitStatus status, Time now);
  void HealthReported(ProcessNumber process, HealthReport report, Time now);
  void MemoryMeasured(ProcessNumber process, int64_t rss_bytes, Time now);

  // Begins to replace every worker that is there now, unless that is under way.
  // Supervisor::restart_state() tells how it goes on.
  tl::expected<void, Refusal> Restart(Time now);
  // Wants so many workers from now on, over 0. Refused when the core is closed.
  tl::expected<void, Refusal> Resize(int workers, Time now);

  // The time that NextWake() named has come.
  void Tick(Time now);
  // Latest time at which Tick is to be called; nothing: not before another event.
  std::optional<Time> NextWake() const { return timers_.Next(); }

  // Refuses new calls from now on, and replaces no more workers.
  void Close();
  // Close, and also cancels queued calls and ends every worker; no process is started any more.
  void Stop(Time now);

  // Hands over the effects since the last call, in their order.
  void TakeEffects(Effects* effects);

  bool closed() const { return closed_; }  // Close or Stop was called
  bool stopping() const { return stopping_; }
  const Scheduler& scheduler() const { return scheduler_; }
  const Supervisor& supervisor() const { return supervisor_; }
  const Roster& roster() const { return supervisor_.roster(); }
  // All workers: those of the seats, surplus ones, and entries of gone ones that stand for nothing.
  const WorkerBoard& workers() const { return board_; }
  // Seats by worker id; as many as are wanted.
  const std::vector<Seat>& seats() const { return roster().seats(); }

 private:
  void TimerFired(TimerKey timer, Time now);
  // Re-establishes the invariants after an event: moves, dispatches, starts and replaces.
  void Settle(Time now);

  const PoolOptions options_;
  WorkerBoard board_;
  Timers timers_;
  Effects effects_;
  Scheduler scheduler_;
  Supervisor supervisor_;
  bool closed_ = false;
  bool stopping_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_CORE_H_
