#include "src/core/lifecycle.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

namespace snakepit {
namespace {

using A = WorkerAction;
using E = WorkerEvent;
using S = WorkerState;

struct Cell {
  S state;
  E event;
  S next;
  A action;
};

// Written out beside the table on purpose: each cell says the same thing twice.
constexpr Cell kWanted[] = {
    {S::kBackingOff, E::kStart, S::kStarting, A::kSpawn},
    {S::kBackingOff, E::kReady, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kUnusable, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kConnectionLost, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kExited, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kIdle, S::kBackingOff, A::kNothing},
    {S::kBackingOff, E::kDrain, S::kGone, A::kRetire},
    {S::kBackingOff, E::kGraceOver, S::kBackingOff, A::kForbidden},
    {S::kStarting, E::kStart, S::kStarting, A::kForbidden},
    {S::kStarting, E::kReady, S::kReady, A::kServe},
    {S::kStarting, E::kUnusable, S::kKilled, A::kKill},
    {S::kStarting, E::kConnectionLost, S::kStopping, A::kAwaitExit},
    {S::kStarting, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kStarting, E::kIdle, S::kStarting, A::kNothing},
    {S::kStarting, E::kDrain, S::kStopping, A::kAskToEnd},
    {S::kStarting, E::kGraceOver, S::kStarting, A::kForbidden},
    {S::kReady, E::kStart, S::kReady, A::kForbidden},
    {S::kReady, E::kReady, S::kReady, A::kForbidden},
    {S::kReady, E::kUnusable, S::kKilled, A::kKill},
    {S::kReady, E::kConnectionLost, S::kStopping, A::kAwaitExit},
    {S::kReady, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kReady, E::kIdle, S::kReady, A::kNothing},
    {S::kReady, E::kDrain, S::kDraining, A::kFinish},
    {S::kReady, E::kGraceOver, S::kReady, A::kForbidden},
    {S::kDraining, E::kStart, S::kDraining, A::kForbidden},
    {S::kDraining, E::kReady, S::kDraining, A::kForbidden},
    {S::kDraining, E::kUnusable, S::kKilled, A::kKill},
    {S::kDraining, E::kConnectionLost, S::kStopping, A::kAwaitExit},
    {S::kDraining, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kDraining, E::kIdle, S::kStopping, A::kAskToEnd},
    {S::kDraining, E::kDrain, S::kDraining, A::kNothing},
    {S::kDraining, E::kGraceOver, S::kKilled, A::kKill},
    {S::kStopping, E::kStart, S::kStopping, A::kForbidden},
    {S::kStopping, E::kReady, S::kStopping, A::kNothing},
    {S::kStopping, E::kUnusable, S::kStopping, A::kNothing},
    {S::kStopping, E::kConnectionLost, S::kStopping, A::kNothing},
    {S::kStopping, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kStopping, E::kIdle, S::kStopping, A::kNothing},
    {S::kStopping, E::kDrain, S::kStopping, A::kNothing},
    {S::kStopping, E::kGraceOver, S::kKilled, A::kKill},
    {S::kKilled, E::kStart, S::kKilled, A::kForbidden},
    {S::kKilled, E::kReady, S::kKilled, A::kNothing},
    {S::kKilled, E::kUnusable, S::kKilled, A::kNothing},
    {S::kKilled, E::kConnectionLost, S::kKilled, A::kNothing},
    {S::kKilled, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kKilled, E::kIdle, S::kKilled, A::kNothing},
    {S::kKilled, E::kDrain, S::kKilled, A::kNothing},
    {S::kKilled, E::kGraceOver, S::kKilled, A::kForbidden},
    {S::kGone, E::kStart, S::kGone, A::kForbidden},
    {S::kGone, E::kReady, S::kGone, A::kForbidden},
    {S::kGone, E::kUnusable, S::kGone, A::kForbidden},
    {S::kGone, E::kConnectionLost, S::kGone, A::kForbidden},
    {S::kGone, E::kExited, S::kGone, A::kForbidden},
    {S::kGone, E::kIdle, S::kGone, A::kNothing},
    {S::kGone, E::kDrain, S::kGone, A::kNothing},
    {S::kGone, E::kGraceOver, S::kGone, A::kForbidden},
};

TEST(Lifecycle, EveryCellIsAsWanted) {
  std::set<std::pair<S, E>> seen;
  for (const Cell& cell : kWanted) {
    SCOPED_TRACE(std::string(WorkerStateName(cell.state)) + " x " +
                 std::string(WorkerEventName(cell.event)));
    const auto [next, action] = NextTransition(cell.state, cell.event);
    EXPECT_EQ(WorkerStateName(next), WorkerStateName(cell.next));
    EXPECT_EQ(WorkerActionName(action), WorkerActionName(cell.action));
    EXPECT_TRUE(seen.emplace(cell.state, cell.event).second) << "listed twice";
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(kWorkerStates * kWorkerEvents));
}

TEST(Lifecycle, TheDocumentHoldsTheTable) {
  std::ifstream file("src/core/LIFECYCLE.md");
  ASSERT_TRUE(file) << "src/core/LIFECYCLE.md cannot be read";
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find(LifecycleTable()), std::string::npos)
      << "src/core/LIFECYCLE.md is to hold this table:\n"
      << LifecycleTable();
}

}  // namespace
}  // namespace snakepit
