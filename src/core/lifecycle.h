// The life cycle of a worker as one table, state x event, no cell undefined. Pure: no I/O, no
// clock.
#ifndef SNAKEPIT_CORE_LIFECYCLE_H_
#define SNAKEPIT_CORE_LIFECYCLE_H_

#include <string>
#include <string_view>

#include "snakepit/pool.h"

namespace snakepit {

// What can happen to a worker. Each event is about the worker's present process: what concerns an
// earlier one is dropped before it gets here.
enum class WorkerEvent {
  kStart,           // it is time to start a process
  kReady,           // the process answered the handshake and the first ping
  kUnusable,        // given up: not ready in time, spoke garbage, or overran a call's deadline
  kConnectionLost,  // its connection closed: the process is ending, or has gone wrong
  kExited,          // the process has ended, or could not be started
  kIdle,            // its last call in flight has ended
  kDrain,           // it shall end when it is idle
  kGraceOver,       // the time that it was given to end is over
};

// What has to be done on the way to the next state.
enum class WorkerAction {
  kNothing,
  kSpawn,      // start a process; the start time limit begins
  kServe,      // give it calls
  kFinish,     // let the calls in flight end; the grace begins
  kAskToEnd,   // close its stdin, or send SIGTERM; the grace begins
  kAwaitExit,  // a short grace begins, in which an exit explains the loss
  kKill,       // SIGKILL to its process group
  kBackOff,    // wait before the next start
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

// The table as Markdown, a row a state and a column an event: what docs/LIFECYCLE.md holds.
std::string LifecycleTable();

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_LIFECYCLE_H_
