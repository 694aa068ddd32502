#include "src/transport/stdio/reader_role.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

TEST(ReaderRole, AThreadThatIsAloneTakesIt) {
  ReaderRole role;
  ReaderRole::Thread me;
  ASSERT_TRUE(role.MayTake(me));
  role.TakeForThread(me);
  EXPECT_TRUE(role.IsWith(me));
  EXPECT_TRUE(role.IsWithThread());
  EXPECT_TRUE(role.MayTake(me)) << "it goes on";
  EXPECT_EQ(role.PassOn(), nullptr);
  EXPECT_FALSE(role.IsWithThread());
}

TEST(ReaderRole, NobodyTakesItFromAThread) {
  ReaderRole role;
  ReaderRole::Thread me, other;
  role.TakeForThread(me);
  EXPECT_FALSE(role.MayTake(other));
  role.TakeForIo();
  EXPECT_FALSE(role.IsWithIo());
  EXPECT_TRUE(role.IsWith(me));
}

TEST(ReaderRole, ItIsPassedToAThreadThatWaits) {
  ReaderRole role;
  ReaderRole::Thread me, first, second;
  role.TakeForThread(me);
  role.BeginWait(first);
  role.BeginWait(second);
  role.EndWait(second);
  EXPECT_TRUE(role.HasWaiting());
  EXPECT_EQ(role.PassOn(), &first);
  EXPECT_TRUE(role.IsWith(first));
  EXPECT_FALSE(role.MayTake(me));
}

TEST(ReaderRole, ThreadsStopToWaitInAnyOrder) {
  ReaderRole role;
  ReaderRole::Thread threads[4];
  for (auto& thread : threads) role.BeginWait(thread);
  for (const int i : {1, 3, 0}) {
    role.EndWait(threads[i]);
    EXPECT_FALSE(ReaderRole::Waits(threads[i]));
    role.EndWait(threads[i]);  // has no effect
  }
  EXPECT_TRUE(ReaderRole::Waits(threads[2]));
  EXPECT_EQ(role.PassOn(), &threads[2]);
  role.EndWait(threads[2]);
  EXPECT_FALSE(role.HasWaiting());
  EXPECT_EQ(role.PassOn(), nullptr);
}

TEST(ReaderRole, AThreadTakesItFromTheIoThreadBetweenTwoTurns) {
  ReaderRole role;
  ReaderRole::Thread me;
  role.TakeForIo();
  ASSERT_TRUE(role.IsWithIo());
  role.SetInTurn(true);
  EXPECT_FALSE(role.MayTake(me));
  role.SetInTurn(false);
  ASSERT_TRUE(role.MayTake(me));
  role.TakeForThread(me);
  EXPECT_FALSE(role.IsWithIo());
}

}  // namespace
}  // namespace snakepit
