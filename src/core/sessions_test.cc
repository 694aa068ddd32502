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

  // The ids of the sessions that were forgotten since the last call.
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
  Use("a", kStart).worker = WorkerIndex{3};
  EXPECT_EQ(Use("a", kStart + seconds(10)).worker, WorkerIndex{3});
  EXPECT_EQ(Use("a", kStart + seconds(20)).worker, WorkerIndex{3}) << "each use renews it";
  EXPECT_EQ(Forgotten(), Ids{});
  EXPECT_EQ(Use("a", kStart + seconds(31)).worker, kNoWorker);
  ASSERT_EQ(forgotten_.size(), 1u);
  EXPECT_EQ(forgotten_[0].worker, WorkerIndex{3}) << "as it was when it was forgotten";
  EXPECT_EQ(forgotten_[0].id, "a");
}

TEST_F(SessionTableTest, TheLeastRecentlyUsedGoesFirstWhenThereAreTooMany) {
  table_.emplace(seconds(10), 2);
  Use("a", kStart);
  Use("b", kStart);
  Use("a", kStart);
  Use("c", kStart);
  EXPECT_EQ(table_->size(), 2u);
  EXPECT_NE(table_->Find("a", kStart), nullptr);
  EXPECT_EQ(table_->Find("b", kStart), nullptr);
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
  EXPECT_NE(table_->Find("a", kStart + seconds(10)), nullptr);
  EXPECT_EQ(table_->Find("a", kStart + seconds(11)), nullptr);
}

TEST_F(SessionTableTest, ManyThatAreTooOldAreForgottenAFewAtATimeAndNeverFoundAgain) {
  constexpr size_t kMost = SessionTable::kMostAtOnce;
  table_.emplace(seconds(10), 10 * kMost);
  for (size_t i = 0; i < 2 * kMost; ++i)
    Use("old " + std::to_string(i), kStart).worker = WorkerIndex{1};
  const SessionTable::Time later = kStart + seconds(11);
  Use("new", later);
  table_->Expire(later, &forgotten_);
  EXPECT_EQ(forgotten_.size(), kMost);
  EXPECT_LE(*table_->NextExpiry(), later) << "there are more";
  const std::string last = "old " + std::to_string(2 * kMost - 1);
  EXPECT_EQ(Use(last, later).worker, kNoWorker) << "one that was not forgotten yet";
  table_->Expire(later, &forgotten_);
  EXPECT_EQ(table_->size(), 2u);
  EXPECT_EQ(forgotten_.size(), 2 * kMost);
  EXPECT_GT(*table_->NextExpiry(), later);
}

TEST_F(SessionTableTest, ASessionWithAnOpenCallIsNotForgotten) {
  table_.emplace(seconds(10), 2);
  const uint64_t number = Use("busy", kStart).number;
  ++table_->Find("busy", number)->open_calls;
  Use("idle", kStart);
  Use("third", kStart);
  EXPECT_EQ(Forgotten(), Ids{"idle"}) << "though the busy one was used before it";
  table_->Expire(kStart + seconds(11), &forgotten_);
  EXPECT_EQ(Forgotten(), Ids{"third"});
  EXPECT_NE(table_->Find("busy", kStart + seconds(60)), nullptr);
  table_->CallEnded("busy", number, kStart + seconds(60));
  EXPECT_NE(table_->Find("busy", kStart + seconds(70)), nullptr) << "the end was a use of it";
  EXPECT_EQ(table_->Find("busy", kStart + seconds(71)), nullptr);
}

TEST_F(SessionTableTest, WhenAllAreBusyThereIsOneTooMany) {
  table_.emplace(seconds(10), 1);
  ++Use("busy", kStart).open_calls;
  Use("new", kStart);
  EXPECT_EQ(table_->size(), 2u);
}

TEST_F(SessionTableTest, ALaterSessionOfTheSameIdIsAnother) {
  const uint64_t first = Use("a", kStart).number;
  table_->Forget("a");
  const uint64_t second = Use("a", kStart).number;
  ++table_->Find("a", second)->open_calls;
  EXPECT_EQ(table_->Find("a", first), nullptr);
  EXPECT_EQ(table_->CallEnded("a", first, kStart), nullptr);
  EXPECT_EQ(table_->Find("a", second)->open_calls, 1);
}

TEST_F(SessionTableTest, ASessionCanBeTakenOut) {
  Use("a", kStart).worker = WorkerIndex{3};
  auto taken = table_->Forget("a");
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->id, "a");
  EXPECT_EQ(taken->worker, WorkerIndex{3});
  EXPECT_FALSE(table_->Forget("a"));
  EXPECT_EQ(table_->size(), 0u);
  EXPECT_EQ(Use("a", kStart).worker, kNoWorker);
  EXPECT_EQ(Forgotten(), Ids{});
}

}  // namespace
}  // namespace snakepit
