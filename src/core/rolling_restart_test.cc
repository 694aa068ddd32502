#include "src/core/rolling_restart.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

TEST(RollingRestart, TheProcessesThatWereThereWhenItBeganAreOld) {
  RollingRestart restart;
  EXPECT_FALSE(restart.IsOld(1)) << "none has begun";
  restart.Begin(7);
  EXPECT_TRUE(restart.IsOld(7));
  EXPECT_FALSE(restart.IsOld(8));
}

TEST(RollingRestart, OnlyOneThatIsUnderWayFails) {
  RollingRestart restart;
  restart.Fail();
  EXPECT_EQ(restart.state(), RestartState::kNone);
  restart.Begin(1);
  restart.Finish();
  restart.Fail();
  EXPECT_EQ(restart.state(), RestartState::kDone);
  restart.Begin(2);
  restart.Fail();
  EXPECT_EQ(restart.state(), RestartState::kFailed);
}

TEST(RollingRestart, ItIsUnderWayFromItsBeginToEitherEnd) {
  RollingRestart restart;
  EXPECT_FALSE(restart.IsRunning());
  restart.Begin(1);
  EXPECT_TRUE(restart.IsRunning());
  restart.Finish();
  EXPECT_FALSE(restart.IsRunning());
  restart.Begin(2);
  EXPECT_TRUE(restart.IsRunning()) << "it can begin again";
  restart.Fail();
  EXPECT_FALSE(restart.IsRunning());
}

}  // namespace
}  // namespace snakepit
