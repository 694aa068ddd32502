// The life cycle of a worker as one table, state x event, no cell undefined. Pure: no I/O, no
// clock.
#ifndef SNAKEPIT_CORE_LIFECYCLE_H_
#define SNAKEPIT_CORE_LIFECYCLE_H_

#include <string>
#include <string_view>

#include "snakepit/stats.h"

namespace snakepit {

// What can happen to a worker. Each event is about the worker's present process: what concerns an
// earlier one is dropped before it gets here.
enum class WorkerEvent {
  kStart,           // it is time to start a process
  kReady,           // the process answered the handshake and the first ping
  kHealthy,         // it said that it is well
  kUnhealthy,       // it said that it is not
  kUnusable,        // given up: not ready in time, spoke garbage, or answered no health check
  kConnectionLost,  // its connection closed: the process is ending, or has gone wrong
  kExited,          // the process has ended, or could not be started
  kIdle,            // the last call that it has to serve has ended
  kRetire,          // it is surplus or replaced: it shall end when it is idle, and not start again
  kStop,            // the pool ends: it has the stop grace to become idle and to end
  kGraceOver,       // the time that it was given to end is over
};

// What has to be done on the way to the next state.
enum class WorkerAction {
  kNothing,
  kSpawn,      // start a process; the start time limit begins
  kServe,      // give it calls
  kWithhold,   // give it no calls; those in flight go on
  kFinish,     // let its calls end, which their deadlines see to
  kHurry,      // let its calls end; the stop grace begins
  kAskToEnd,   // close its stdin, or send SIGTERM; the stop grace begins
  kAwaitExit,  // a short grace begins, in which an exit explains the loss
  kKill,       // SIGKILL to its process group
  kBackOff,    // wait before the next start, unless it is to be gone
  kRetire,     // it is over
  kForbidden,  // cannot happen: a fault of the core
};

struct WorkerTransition {
  WorkerState next;
  WorkerAction action;
};

inline constexpr int kWorkerStates = static_cast<int>(WorkerState::kGone) + 1;
inline constexpr int kWorkerEvents = static_cast<int>(WorkerEvent::kGraceOver) + 1;

std::string_view WorkerEventName(WorkerEvent event);
std::string_view WorkerActionName(WorkerAction action);

// The cell of the table. A forbidden one leaves the state as it is.
WorkerTransition NextTransition(WorkerState state, WorkerEvent event);

// The table as Markdown, a row a state and a column an event: what LIFECYCLE.md holds.
std::string LifecycleTable();

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_LIFECYCLE_H_
