#include "src/core/sessions.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

using std::chrono::seconds;
constexpr SessionTable::Time kStart{};

TEST(SessionTable, ASessionIsKeptWhileItIsUsedWithinItsTimeToLive) {
  SessionTable table(seconds(10), 100);
  table.Use("a", kStart).worker = 3;
  EXPECT_EQ(table.Use("a", kStart + seconds(10)).worker, 3);
  EXPECT_EQ(table.Use("a", kStart + seconds(20)).worker, 3) << "each use renews it";
  EXPECT_EQ(table.Use("a", kStart + seconds(31)).worker, -1);
}

TEST(SessionTable, TheLeastRecentlyUsedGoesFirstWhenThereAreTooMany) {
  SessionTable table(seconds(10), 2);
  table.Use("a", kStart).worker = 1;
  table.Use("b", kStart).worker = 2;
  table.Use("a", kStart);
  table.Use("c", kStart);
  EXPECT_EQ(table.size(), 2u);
  EXPECT_NE(table.Find("a"), nullptr);
  EXPECT_EQ(table.Find("b"), nullptr);
}

TEST(SessionTable, StaysWithinItsLimitOverManySessions) {
  SessionTable table(seconds(10), 1000);
  for (int i = 0; i < 100'000; ++i) table.Use("session " + std::to_string(i), kStart);
  EXPECT_EQ(table.size(), 1000u);
}

TEST(SessionTable, LookingForASessionIsNoUseOfIt) {
  SessionTable table(seconds(10), 100);
  table.Use("a", kStart);
  EXPECT_NE(table.Find("a"), nullptr);
  table.Use("b", kStart + seconds(11));
  EXPECT_EQ(table.Find("a"), nullptr);
}

}  // namespace
}  // namespace snakepit
