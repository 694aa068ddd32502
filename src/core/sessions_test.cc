#include "src/core/sessions.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

using std::chrono::seconds;
constexpr SessionTable::Time kStart{};

class SessionTableTest : public testing::Test {
 protected:
  SessionTable::Session& Use(std::string_view id, SessionTable::Time now) {
    return table_->Use(id, now, &forgotten_);
  }

  // The ids of what was forgotten since the last time.
  std::vector<std::string> Forgotten() {
    std::vector<std::string> ids;
    for (const SessionTable::Session& session : forgotten_) ids.push_back(session.id);
    forgotten_.clear();
    return ids;
  }

  std::optional<SessionTable> table_{std::in_place, seconds(10), 100};
  std::vector<SessionTable::Session> forgotten_;
};

using Ids = std::vector<std::string>;

TEST_F(SessionTableTest, ASessionIsKeptWhileItIsUsedWithinItsTimeToLive) {
  Use("a", kStart).worker = 3;
  EXPECT_EQ(Use("a", kStart + seconds(10)).worker, 3);
  EXPECT_EQ(Use("a", kStart + seconds(20)).worker, 3) << "each use renews it";
  EXPECT_EQ(Forgotten(), Ids{});
  EXPECT_EQ(Use("a", kStart + seconds(31)).worker, -1);
  ASSERT_EQ(forgotten_.size(), 1u);
  EXPECT_EQ(forgotten_[0].worker, 3) << "as it was when it was forgotten";
  EXPECT_EQ(forgotten_[0].id, "a");
}

TEST_F(SessionTableTest, TheLeastRecentlyUsedGoesFirstWhenThereAreTooMany) {
  table_.emplace(seconds(10), 2);
  Use("a", kStart);
  Use("b", kStart);
  Use("a", kStart);
  Use("c", kStart);
  EXPECT_EQ(table_->size(), 2u);
  EXPECT_NE(table_->Find("a"), nullptr);
  EXPECT_EQ(table_->Find("b"), nullptr);
  EXPECT_EQ(Forgotten(), Ids{"b"});
}

TEST_F(SessionTableTest, StaysWithinItsLimitOverManySessions) {
  table_.emplace(seconds(10), 1000);
  for (int i = 0; i < 100'000; ++i) {
    Use("session " + std::to_string(i), kStart);
    forgotten_.clear();
  }
  EXPECT_EQ(table_->size(), 1000u);
}

TEST_F(SessionTableTest, LookingForASessionIsNoUseOfIt) {
  Use("a", kStart);
  EXPECT_NE(table_->Find("a"), nullptr);
  Use("b", kStart + seconds(11));
  EXPECT_EQ(table_->Find("a"), nullptr);
  EXPECT_EQ(Forgotten(), Ids{"a"});
}

TEST_F(SessionTableTest, ManyThatAreTooOldAreForgottenAFewAtATimeAndNeverFoundAgain) {
  for (int i = 0; i < 100; ++i) Use("old " + std::to_string(i), kStart).worker = 1;
  Use("new", kStart + seconds(11));
  EXPECT_EQ(Forgotten().size(), size_t{SessionTable::kMostForgottenAtOnce});
  EXPECT_EQ(Use("old 99", kStart + seconds(11)).worker, -1) << "one that was not forgotten yet";
  for (int i = 0; i < 100; ++i) Use("new", kStart + seconds(11));
  EXPECT_EQ(table_->size(), 2u);
  EXPECT_EQ(Forgotten().size(), 100u - SessionTable::kMostForgottenAtOnce);
}

TEST_F(SessionTableTest, ASessionCanBeTakenOut) {
  Use("a", kStart).worker = 3;
  auto taken = table_->Forget("a");
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->id, "a");
  EXPECT_EQ(taken->worker, 3);
  EXPECT_FALSE(table_->Forget("a"));
  EXPECT_EQ(table_->size(), 0u);
  EXPECT_EQ(Use("a", kStart).worker, -1);
  EXPECT_EQ(Forgotten(), Ids{});
}

}  // namespace
}  // namespace snakepit
