#include "src/core/replacer.h"

#include "src/core/testing/parts.h"

namespace snakepit {
namespace {

class ReplacerTest : public PartsTest {
 protected:
  WorkerIndex SuccessorOf(int id) const { return roster_.seats()[id].successor; }

  // Lets the successor of the seat become ready, and the worker that it replaces end.
  void Finish(int id) {
    const WorkerIndex old = roster_.seats()[id].worker, successor = SuccessorOf(id);
    driver_.Handle(successor, WorkerEvent::kReady, now_);
    replacer_.WorkerReady(successor, now_);
    EXPECT_EQ(roster_.seats()[id].worker, successor);
    driver_.Handle(old, WorkerEvent::kExited, now_);
    EXPECT_EQ(StateOf(old), WorkerState::kGone);
  }
};

TEST_F(ReplacerTest, OneDueWorkerIsReplacedAtATime) {
  const WorkerIndex first = AddReady(), second = AddReady();
  replacer_.MarkDue(second, ReplaceReason::kMaxAge);
  replacer_.MarkDue(first, ReplaceReason::kMaxCalls);
  replacer_.ReplaceDue(now_);
  replacer_.ReplaceDue(now_);
  EXPECT_EQ(Count<SpawnWorker>(), 1);
  EXPECT_NE(SuccessorOf(0), kNoWorker) << "the longest-lived process first";
  Finish(0);
  EXPECT_FALSE(replacer_.IsReplacing());
  replacer_.ReplaceDue(now_);
  EXPECT_NE(SuccessorOf(1), kNoWorker);
  EXPECT_EQ(roster_.counts().recycled, 1);
}

TEST_F(ReplacerTest, AFailedSuccessorLeavesTheOldWorkerServing) {
  const WorkerIndex old = AddReady();
  replacer_.MarkDue(old, ReplaceReason::kMaxAge);
  replacer_.ReplaceDue(now_);
  replacer_.SuccessorFailed(&roster_.seats()[0], now_);
  EXPECT_EQ(StateOf(old), WorkerState::kReady);
  EXPECT_FALSE(replacer_.IsReplacing());
  replacer_.ReplaceDue(now_);
  EXPECT_EQ(SuccessorOf(0), kNoWorker) << "backed off from";
  EXPECT_GT(timers_.Next(), now_);
}

TEST_F(ReplacerTest, ARestartEndsWhenTheLastOldProcessIsGone) {
  AddReady(), AddReady();
  ASSERT_TRUE(replacer_.Restart(now_));
  for (int id : {0, 1}) {
    replacer_.ReplaceDueOrOld(now_);
    EXPECT_EQ(replacer_.restart_state(), RestartState::kRunning);
    Finish(id);
  }
  replacer_.ReplaceDueOrOld(now_);
  EXPECT_EQ(replacer_.restart_state(), RestartState::kDone);
}

TEST_F(ReplacerTest, ACloseEndsARestart) {
  AddReady();
  ASSERT_TRUE(replacer_.Restart(now_));
  replacer_.Close();
  EXPECT_EQ(replacer_.restart_state(), RestartState::kFailed);
  EXPECT_EQ(replacer_.Restart(now_).error(), Refusal::kClosed);
}

}  // namespace
}  // namespace snakepit
