#include "src/worker/stdio/reading_role.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

namespace snakepit {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kLimit{20};

TEST(ReadingRoleTest, IsTakenFromAReaderThatIsBusyForLong) {
  ReadingRole role;
  auto taken = std::async(std::launch::async, [&] { return role.AwaitRole(); });
  const ReadingRole::Turn turn = role.BeginBusy();
  ASSERT_EQ(taken.wait_for(kLimit), std::future_status::ready);
  EXPECT_TRUE(taken.get());
  EXPECT_FALSE(role.EndBusy(turn));
  // The one who has it now keeps it, when nobody stands by.
  const ReadingRole::Turn next = role.BeginBusy();
  EXPECT_NE(next, turn);
  EXPECT_TRUE(role.EndBusy(next));
}

TEST(ReadingRoleTest, IsNotTakenFromAReaderThatWaitsOrIsBusyOftenButShortly) {
  ReadingRole role;
  auto taken = std::async(std::launch::async, [&] { return role.AwaitRole(); });
  const auto end = std::chrono::steady_clock::now() + 20 * ReadingRole::kTick;
  while (std::chrono::steady_clock::now() < end) {
    const ReadingRole::Turn turn = role.BeginBusy();
    // The scheduler may stop this thread here for two ticks; then the role is lost indeed.
    if (!role.EndBusy(turn)) {
      EXPECT_TRUE(taken.get());
      GTEST_SKIP() << "the machine is too busy";
    }
  }
  EXPECT_EQ(taken.wait_for(10 * ReadingRole::kTick), std::future_status::timeout);
  role.End();
  EXPECT_FALSE(taken.get());
}

TEST(ReadingRoleTest, IsTakenAfterAnyTimeOfSleep) {
  ReadingRole role;
  // Longer than it takes whoever stands by to fall asleep, and shorter.
  for (const auto idle : {0ms, 1ms, 19ms, 21ms, 40ms}) {
    auto taken = std::async(std::launch::async, [&] { return role.AwaitRole(); });
    EXPECT_EQ(taken.wait_for(idle), std::future_status::timeout);
    role.BeginBusy();
    ASSERT_EQ(taken.wait_for(kLimit), std::future_status::ready);
    EXPECT_TRUE(taken.get());
  }
}

TEST(ReadingRoleTest, IsTakenWhenGivenUp) {
  ReadingRole role;
  for (int i = 0; i < 100; ++i) {
    auto taken = std::async(std::launch::async, [&] { return role.AwaitRole(); });
    const ReadingRole::Turn turn = role.BeginBusy();
    role.GiveUp(turn);
    EXPECT_TRUE(taken.get());
    EXPECT_FALSE(role.EndBusy(turn));
    role.GiveUp(turn);  // of a turn that is over: nothing
    role.GiveUp(0);
  }
}

}  // namespace
}  // namespace snakepit
