#include "src/core/lifecycle.h"

#include <array>
#include <iterator>

namespace snakepit {
namespace {

using S = WorkerState;
using A = WorkerAction;

constexpr WorkerTransition Forbidden(S state) { return {state, A::kForbidden}; }
constexpr WorkerTransition Ignore(S state) { return {state, A::kNothing}; }

using Row = std::array<WorkerTransition, kWorkerEvents>;

// Columns: kStart, kReady, kHealthy, kUnhealthy, kUnusable, kConnectionLost, kExited, kIdle,
// kRetire, kStop, kGraceOver. A process that was asked to end, or killed, may still become ready,
// fail or close its connection before its exit is reported: those events are ignored there. Every
// exit leads to kBackingOff, from where a surplus worker is retired at once.
constexpr std::array<Row, kWorkerStates> kTable = {{
    {{
        // kBackingOff
        {S::kStarting, A::kSpawn},
        Forbidden(S::kBackingOff),
        Forbidden(S::kBackingOff),
        Forbidden(S::kBackingOff),
        Forbidden(S::kBackingOff),
        Forbidden(S::kBackingOff),
        Forbidden(S::kBackingOff),
        Ignore(S::kBackingOff),
        {S::kGone, A::kRetire},
        {S::kGone, A::kRetire},
        Forbidden(S::kBackingOff),
    }},
    {{
        // kStarting
        Forbidden(S::kStarting),
        {S::kReady, A::kServe},
        Forbidden(S::kStarting),
        Forbidden(S::kStarting),
        {S::kKilled, A::kKill},
        {S::kStopping, A::kAwaitExit},
        {S::kBackingOff, A::kBackOff},
        Ignore(S::kStarting),
        {S::kStopping, A::kAskToEnd},
        {S::kStopping, A::kAskToEnd},
        Forbidden(S::kStarting),
    }},
    {{
        // kReady
        Forbidden(S::kReady),
        Forbidden(S::kReady),
        Ignore(S::kReady),
        {S::kUnready, A::kWithhold},
        {S::kKilled, A::kKill},
        {S::kStopping, A::kAwaitExit},
        {S::kBackingOff, A::kBackOff},
        Ignore(S::kReady),
        {S::kDraining, A::kFinish},
        {S::kDraining, A::kHurry},
        Forbidden(S::kReady),
    }},
    {{
        // kUnready
        Forbidden(S::kUnready),
        Forbidden(S::kUnready),
        {S::kReady, A::kServe},
        Ignore(S::kUnready),
        {S::kKilled, A::kKill},
        {S::kStopping, A::kAwaitExit},
        {S::kBackingOff, A::kBackOff},
        Ignore(S::kUnready),
        {S::kDraining, A::kFinish},
        {S::kDraining, A::kHurry},
        Forbidden(S::kUnready),
    }},
    {{
        // kDraining
        Forbidden(S::kDraining),
        Forbidden(S::kDraining),
        Ignore(S::kDraining),
        Ignore(S::kDraining),
        {S::kKilled, A::kKill},
        {S::kStopping, A::kAwaitExit},
        {S::kBackingOff, A::kBackOff},
        {S::kStopping, A::kAskToEnd},
        Ignore(S::kDraining),
        {S::kDraining, A::kHurry},
        {S::kKilled, A::kKill},
    }},
    {{
        // kStopping
        Forbidden(S::kStopping),
        Ignore(S::kStopping),
        Ignore(S::kStopping),
        Ignore(S::kStopping),
        Ignore(S::kStopping),
        Ignore(S::kStopping),
        {S::kBackingOff, A::kBackOff},
        Ignore(S::kStopping),
        Ignore(S::kStopping),
        Ignore(S::kStopping),
        {S::kKilled, A::kKill},
    }},
    {{
        // kKilled
        Forbidden(S::kKilled),
        Ignore(S::kKilled),
        Ignore(S::kKilled),
        Ignore(S::kKilled),
        Ignore(S::kKilled),
        Ignore(S::kKilled),
        {S::kBackingOff, A::kBackOff},
        Ignore(S::kKilled),
        Ignore(S::kKilled),
        Ignore(S::kKilled),
        {S::kBackingOff, A::kBackOff},
    }},
    {{
        // kGone
        Forbidden(S::kGone),
        Forbidden(S::kGone),
        Forbidden(S::kGone),
        Forbidden(S::kGone),
        Forbidden(S::kGone),
        Forbidden(S::kGone),
        Forbidden(S::kGone),
        Ignore(S::kGone),
        Ignore(S::kGone),
        Ignore(S::kGone),
        Forbidden(S::kGone),
    }},
}};

}  // namespace

std::string_view WorkerStateName(WorkerState state) {
  constexpr std::string_view kNames[] = {"backing off", "starting", "ready",  "unready",
                                         "draining",    "stopping", "killed", "gone"};
  static_assert(std::size(kNames) == kWorkerStates);
  return kNames[static_cast<int>(state)];
}

std::string_view WorkerEventName(WorkerEvent event) {
  constexpr std::string_view kNames[] = {
      "start",  "ready", "healthy", "unhealthy", "unusable",  "connection lost",
      "exited", "idle",  "retire",  "stop",      "grace over"};
  static_assert(std::size(kNames) == kWorkerEvents);
  return kNames[static_cast<int>(event)];
}

std::string_view WorkerActionName(WorkerAction action) {
  constexpr std::string_view kNames[] = {"nothing", "spawn",    "serve",      "withhold",
                                         "finish",  "hurry",    "ask to end", "await exit",
                                         "kill",    "back off", "retire",     "forbidden"};
  static_assert(std::size(kNames) == kWorkerActions);
  return kNames[static_cast<int>(action)];
}

WorkerTransition NextTransition(WorkerState state, WorkerEvent event) {
  return kTable[static_cast<int>(state)][static_cast<int>(event)];
}

std::string LifecycleTable() {
  std::string table = "| state |";
  for (int e = 0; e < kWorkerEvents; ++e) {
    table.append(" ").append(WorkerEventName(static_cast<WorkerEvent>(e))).append(" |");
  }
  table += "\n|---|";
  for (int e = 0; e < kWorkerEvents; ++e) table += "---|";
  table += "\n";
  for (int s = 0; s < kWorkerStates; ++s) {
    table.append("| **").append(WorkerStateName(static_cast<S>(s))).append("** |");
    for (int e = 0; e < kWorkerEvents; ++e) {
      const auto [next, action] = NextTransition(static_cast<S>(s), static_cast<WorkerEvent>(e));
      if (action == A::kForbidden) {
        table += " cannot happen |";
      } else if (action == A::kNothing) {
        table += " – |";
      } else {
        table.append(" ").append(WorkerActionName(action)).append(" → ");
        table.append(WorkerStateName(next)).append(" |");
      }
    }
    table += "\n";
  }
  return table;
}

}  // namespace snakepit
