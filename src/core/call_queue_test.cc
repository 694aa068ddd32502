#include "src/core/call_queue.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

class CallQueueTest : public testing::Test {
 protected:
  WorkerIndex AddWorker(WorkerState state) { return board_.Add({.state = state}); }

  WorkerBoard board_;
  CallQueue queue_{&board_};
};

TEST_F(CallQueueTest, TheOldestCallThatAWorkerHasRoomForIsNext) {
  const WorkerIndex ready = AddWorker(WorkerState::kReady);
  const WorkerIndex busy = AddWorker(WorkerState::kReady);
  board_[busy].in_flight = 1;
  queue_.Add(1, 10, busy);
  queue_.Add(2, 10, kNoWorker);
  queue_.Add(3, 10, ready);
  queue_.Add(4, 10, kNoWorker);
  EXPECT_EQ(queue_.NextWithRoom(), 2u) << "the worker of call 1 is busy";
  queue_.Remove(2, 10, kNoWorker);
  EXPECT_EQ(queue_.NextWithRoom(), 3u);
  board_[busy].in_flight = 0;
  EXPECT_EQ(queue_.NextWithRoom(), 1u);
}

TEST_F(CallQueueTest, ADrainingWorkerHasRoomForItsOwnQueueOnly) {
  const WorkerIndex draining = AddWorker(WorkerState::kDraining);
  queue_.Add(1, 0, kNoWorker);
  EXPECT_EQ(queue_.NextWithRoom(), 0u);
  queue_.Add(2, 0, draining);
  EXPECT_EQ(queue_.NextWithRoom(), 2u);
}

TEST_F(CallQueueTest, AMoveKeepsTheTotalsAndCountsInTheView) {
  const WorkerIndex worker = AddWorker(WorkerState::kReady);
  queue_.Add(1, 10, kNoWorker);
  queue_.Add(2, 20, worker);
  EXPECT_EQ(board_[worker].waiting, 1);
  queue_.Move(1, kNoWorker, worker);
  EXPECT_EQ(board_[worker].waiting, 2);
  EXPECT_TRUE(queue_.common().empty());
  EXPECT_EQ(queue_.OfWorker(worker), (CallQueue::Ids{1, 2}));
  EXPECT_EQ(queue_.size(), 2u);
  EXPECT_EQ(queue_.bytes(), 30u);
  queue_.Remove(2, 20, worker);
  EXPECT_EQ(board_[worker].waiting, 1);
  EXPECT_EQ(queue_.bytes(), 10u);
}

TEST_F(CallQueueTest, TheOldestOfAllQueuesIsKnown) {
  const WorkerIndex worker = AddWorker(WorkerState::kStarting);
  EXPECT_EQ(queue_.Oldest(), 0u);
  queue_.Add(2, 0, kNoWorker);
  queue_.Add(1, 0, worker);
  EXPECT_EQ(queue_.Oldest(), 1u);
}

}  // namespace
}  // namespace snakepit
