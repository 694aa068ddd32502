#include "src/core/roster.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

class RosterTest : public testing::Test {
 protected:
  // Adds a seat, and its worker in that state with a process of its own.
  WorkerIndex AddSeat(WorkerState state) {
    const WorkerIndex index = AddWorker(static_cast<int>(roster_.seats().size()), state);
    roster_.seats().push_back({.worker = index});
    return index;
  }
  WorkerIndex AddWorker(int id, WorkerState state) {
    const WorkerIndex index = roster_.Add(id);
    board_[index].state = state;
    board_[index].process = ++last_process_;
    return index;
  }

  WorkerBoard board_;
  Roster roster_{&board_};
  ProcessNumber last_process_ = 0;
};

TEST_F(RosterTest, AWorkerThatIsAddedBacksOffAndHasHadNoProcess) {
  const WorkerIndex index = roster_.Add(5);
  EXPECT_EQ(board_[index].id, 5);
  EXPECT_EQ(board_[index].state, WorkerState::kBackingOff);
  EXPECT_EQ(board_[index].process, 0u);
  EXPECT_EQ(roster_.Find(0), kNoWorker) << "0 is no process";
}

TEST_F(RosterTest, TheEntryOfAGoneWorkerIsUsedAgainAndTheOthersStay) {
  const WorkerIndex gone = AddSeat(WorkerState::kReady);
  const WorkerIndex other = AddSeat(WorkerState::kReady);
  Roster::Worker* const other_entry = &roster_[other];
  roster_[gone].is_surplus = true;
  roster_[gone].recycling.due = ReplaceReason::kMaxAge;
  board_[gone].calls_started = 9;
  EXPECT_NE(roster_.Add(2), gone) << "it is not gone yet";
  board_[gone].state = WorkerState::kGone;
  EXPECT_EQ(roster_.Add(7), gone);
  EXPECT_FALSE(roster_[gone].is_surplus);
  EXPECT_FALSE(roster_[gone].recycling.due);
  EXPECT_EQ(board_[gone].id, 7);
  EXPECT_EQ(board_[gone].process, 0u);
  EXPECT_EQ(board_[gone].calls_started, 0);
  EXPECT_EQ(&roster_[other], other_entry);
  EXPECT_EQ(board_.size(), 3u);
}

TEST_F(RosterTest, AProcessIsFoundWhileItLives) {
  const WorkerIndex index = AddSeat(WorkerState::kStarting);
  using S = WorkerState;
  for (S state : {S::kStarting, S::kReady, S::kUnready, S::kDraining, S::kStopping, S::kKilled}) {
    board_[index].state = state;
    EXPECT_EQ(roster_.Find(1), index) << WorkerStateName(state);
  }
  for (S state : {S::kBackingOff, S::kGone}) {
    board_[index].state = state;
    EXPECT_EQ(roster_.Find(1), kNoWorker) << WorkerStateName(state);
  }
  EXPECT_EQ(roster_.Find(2), kNoWorker);
}

TEST_F(RosterTest, TwoWorkersOfAnIdShareASeatAndOneHasIt) {
  const WorkerIndex old = AddSeat(WorkerState::kReady);
  const WorkerIndex successor = AddWorker(0, WorkerState::kStarting);
  roster_.seats()[0].successor = successor;
  EXPECT_EQ(roster_.SeatOf(old), &roster_.seats()[0]);
  EXPECT_EQ(roster_.SeatOf(successor), &roster_.seats()[0]);
  EXPECT_TRUE(roster_.IsSeated(old));
  EXPECT_FALSE(roster_.IsSeated(successor));
}

TEST_F(RosterTest, AWorkerWhoseSeatIsNotWantedAnyMoreHasNone) {
  AddSeat(WorkerState::kReady);
  const WorkerIndex surplus = AddSeat(WorkerState::kDraining);
  roster_.seats().pop_back();
  EXPECT_EQ(roster_.SeatOf(surplus), nullptr);
  EXPECT_FALSE(roster_.IsSeated(surplus));
}

TEST_F(RosterTest, AnUnreadyWorkerServesAndIsNotReady) {
  AddSeat(WorkerState::kReady);
  const WorkerIndex second = AddSeat(WorkerState::kReady);
  EXPECT_TRUE(roster_.AllReady());
  board_[second].state = WorkerState::kUnready;
  EXPECT_FALSE(roster_.AllReady());
  EXPECT_TRUE(roster_.AllServe());
  board_[second].state = WorkerState::kDraining;
  EXPECT_FALSE(roster_.AllServe());
}

TEST_F(RosterTest, AWorkerWithoutASeatMayBeTheLastThatServes) {
  const WorkerIndex seated = AddSeat(WorkerState::kBackingOff);
  const WorkerIndex surplus = AddWorker(0, WorkerState::kReady);
  EXPECT_TRUE(roster_.AnyServes());
  EXPECT_FALSE(roster_.AllServe()) << "that asks for the seats";
  board_[surplus].state = WorkerState::kGone;
  EXPECT_FALSE(roster_.AnyServes());
  EXPECT_FALSE(roster_.AllGone());
  board_[seated].state = WorkerState::kGone;
  EXPECT_TRUE(roster_.AllGone());
}

TEST_F(RosterTest, WithoutWorkersNoneServesAndAllAreGone) {
  EXPECT_FALSE(roster_.AnyServes());
  EXPECT_TRUE(roster_.AllGone());
  EXPECT_EQ(roster_.Find(1), kNoWorker);
}

}  // namespace
}  // namespace snakepit
