// The life cycle of a worker as one table, state x event, no cell undefined. Pure: no I/O, no
// clock.
#ifndef SNAKEPIT_CORE_LIFECYCLE_H_
#define SNAKEPIT_CORE_LIFECYCLE_H_

#include <string>
#include <string_view>

#include "snakepit/stats.h"

namespace snakepit {

// The events of a worker. Each concerns the worker's present process: news of an earlier one is
// dropped before.
enum class WorkerEvent {
  kStart,           // it is time to start a process
  kReady,           // the process answered the handshake and the first ping
  kHealthy,         // the process reported itself healthy
  kUnhealthy,       // the process reported itself unhealthy
  kUnusable,        // given up: not ready in time, spoke garbage, or answered no health check
  kConnectionLost,  // its connection closed: the process is ending, or has gone wrong
  kExited,          // the process has ended, or could not be started
  kIdle,            // the last call that it has to serve has ended
  kRetire,          // surplus or replaced: it ends when it is idle, and is not started again
  kStop,            // the pool stops: the worker has the stop grace to become idle and to end
  kGraceOver,       // the time that the worker had to end is over
};

// The work to do on the way to the next state.
enum class WorkerAction {
  kNothing,
  kSpawn,      // start a process; the start timeout begins
  kServe,      // give it calls
  kWithhold,   // give it no calls; those in flight go on
  kFinish,     // let its calls end; their deadlines bound that
  kHurry,      // let its calls end; the stop grace begins
  kAskToEnd,   // close its stdin, or send SIGTERM; the stop grace begins
  kAwaitExit,  // a short grace begins, for an exit status that explains the loss
  kKill,       // SIGKILL to its process group
  kBackOff,    // wait before the next start; a surplus worker is retired instead
  kRetire,     // the worker is gone
  kForbidden,  // cannot happen: a fault of the core
};

// Without a default constructor, so that a missing cell of the table does not compile.
struct WorkerTransition {
  constexpr WorkerTransition(WorkerState next_state, WorkerAction its_action)
      : next(next_state), action(its_action) {}

  WorkerState next;
  WorkerAction action;
};

inline constexpr int kWorkerStates = static_cast<int>(WorkerState::kGone) + 1;
inline constexpr int kWorkerEvents = static_cast<int>(WorkerEvent::kGraceOver) + 1;
inline constexpr int kWorkerActions = static_cast<int>(WorkerAction::kForbidden) + 1;

std::string_view WorkerEventName(WorkerEvent event);
std::string_view WorkerActionName(WorkerAction action);

// The cell of the table. A forbidden one leaves the state as it is.
WorkerTransition NextTransition(WorkerState state, WorkerEvent event);

// The table as Markdown, with a row for each state and a column for each event. LIFECYCLE.md
// has it.
std::string LifecycleTable();

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_LIFECYCLE_H_
