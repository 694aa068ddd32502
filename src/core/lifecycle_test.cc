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

// A second copy of the table, on purpose: a change has to be made twice.
constexpr Cell kWanted[] = {
    {S::kBackingOff, E::kStart, S::kStarting, A::kSpawn},
    {S::kBackingOff, E::kReady, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kHealthy, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kUnhealthy, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kUnusable, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kConnectionLost, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kExited, S::kBackingOff, A::kForbidden},
    {S::kBackingOff, E::kIdle, S::kBackingOff, A::kNothing},
    {S::kBackingOff, E::kRetire, S::kGone, A::kRetire},
    {S::kBackingOff, E::kStop, S::kGone, A::kRetire},
    {S::kBackingOff, E::kGraceOver, S::kBackingOff, A::kForbidden},
    {S::kStarting, E::kStart, S::kStarting, A::kForbidden},
    {S::kStarting, E::kReady, S::kReady, A::kServe},
    {S::kStarting, E::kHealthy, S::kStarting, A::kForbidden},
    {S::kStarting, E::kUnhealthy, S::kStarting, A::kForbidden},
    {S::kStarting, E::kUnusable, S::kKilled, A::kKill},
    {S::kStarting, E::kConnectionLost, S::kStopping, A::kAwaitExit},
    {S::kStarting, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kStarting, E::kIdle, S::kStarting, A::kNothing},
    {S::kStarting, E::kRetire, S::kStopping, A::kAskToEnd},
    {S::kStarting, E::kStop, S::kStopping, A::kAskToEnd},
    {S::kStarting, E::kGraceOver, S::kStarting, A::kForbidden},
    {S::kReady, E::kStart, S::kReady, A::kForbidden},
    {S::kReady, E::kReady, S::kReady, A::kForbidden},
    {S::kReady, E::kHealthy, S::kReady, A::kNothing},
    {S::kReady, E::kUnhealthy, S::kUnready, A::kWithhold},
    {S::kReady, E::kUnusable, S::kKilled, A::kKill},
    {S::kReady, E::kConnectionLost, S::kStopping, A::kAwaitExit},
    {S::kReady, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kReady, E::kIdle, S::kReady, A::kNothing},
    {S::kReady, E::kRetire, S::kDraining, A::kFinish},
    {S::kReady, E::kStop, S::kDraining, A::kHurry},
    {S::kReady, E::kGraceOver, S::kReady, A::kForbidden},
    {S::kUnready, E::kStart, S::kUnready, A::kForbidden},
    {S::kUnready, E::kReady, S::kUnready, A::kForbidden},
    {S::kUnready, E::kHealthy, S::kReady, A::kServe},
    {S::kUnready, E::kUnhealthy, S::kUnready, A::kNothing},
    {S::kUnready, E::kUnusable, S::kKilled, A::kKill},
    {S::kUnready, E::kConnectionLost, S::kStopping, A::kAwaitExit},
    {S::kUnready, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kUnready, E::kIdle, S::kUnready, A::kNothing},
    {S::kUnready, E::kRetire, S::kDraining, A::kFinish},
    {S::kUnready, E::kStop, S::kDraining, A::kHurry},
    {S::kUnready, E::kGraceOver, S::kUnready, A::kForbidden},
    {S::kDraining, E::kStart, S::kDraining, A::kForbidden},
    {S::kDraining, E::kReady, S::kDraining, A::kForbidden},
    {S::kDraining, E::kHealthy, S::kDraining, A::kNothing},
    {S::kDraining, E::kUnhealthy, S::kDraining, A::kNothing},
    {S::kDraining, E::kUnusable, S::kKilled, A::kKill},
    {S::kDraining, E::kConnectionLost, S::kStopping, A::kAwaitExit},
    {S::kDraining, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kDraining, E::kIdle, S::kStopping, A::kAskToEnd},
    {S::kDraining, E::kRetire, S::kDraining, A::kNothing},
    {S::kDraining, E::kStop, S::kDraining, A::kHurry},
    {S::kDraining, E::kGraceOver, S::kKilled, A::kKill},
    {S::kStopping, E::kStart, S::kStopping, A::kForbidden},
    {S::kStopping, E::kReady, S::kStopping, A::kNothing},
    {S::kStopping, E::kHealthy, S::kStopping, A::kNothing},
    {S::kStopping, E::kUnhealthy, S::kStopping, A::kNothing},
    {S::kStopping, E::kUnusable, S::kStopping, A::kNothing},
    {S::kStopping, E::kConnectionLost, S::kStopping, A::kNothing},
    {S::kStopping, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kStopping, E::kIdle, S::kStopping, A::kNothing},
    {S::kStopping, E::kRetire, S::kStopping, A::kNothing},
    {S::kStopping, E::kStop, S::kStopping, A::kNothing},
    {S::kStopping, E::kGraceOver, S::kKilled, A::kKill},
    {S::kKilled, E::kStart, S::kKilled, A::kForbidden},
    {S::kKilled, E::kReady, S::kKilled, A::kNothing},
    {S::kKilled, E::kHealthy, S::kKilled, A::kNothing},
    {S::kKilled, E::kUnhealthy, S::kKilled, A::kNothing},
    {S::kKilled, E::kUnusable, S::kKilled, A::kNothing},
    {S::kKilled, E::kConnectionLost, S::kKilled, A::kNothing},
    {S::kKilled, E::kExited, S::kBackingOff, A::kBackOff},
    {S::kKilled, E::kIdle, S::kKilled, A::kNothing},
    {S::kKilled, E::kRetire, S::kKilled, A::kNothing},
    {S::kKilled, E::kStop, S::kKilled, A::kNothing},
    {S::kKilled, E::kGraceOver, S::kBackingOff, A::kBackOff},
    {S::kGone, E::kStart, S::kGone, A::kForbidden},
    {S::kGone, E::kReady, S::kGone, A::kForbidden},
    {S::kGone, E::kHealthy, S::kGone, A::kForbidden},
    {S::kGone, E::kUnhealthy, S::kGone, A::kForbidden},
    {S::kGone, E::kUnusable, S::kGone, A::kForbidden},
    {S::kGone, E::kConnectionLost, S::kGone, A::kForbidden},
    {S::kGone, E::kExited, S::kGone, A::kForbidden},
    {S::kGone, E::kIdle, S::kGone, A::kNothing},
    {S::kGone, E::kRetire, S::kGone, A::kNothing},
    {S::kGone, E::kStop, S::kGone, A::kNothing},
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
      << "src/core/LIFECYCLE.md has to hold this table:\n"
      << LifecycleTable();
}

}  // namespace
}  // namespace snakepit
