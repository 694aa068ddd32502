#include "src/transport/stdio/call_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace snakepit {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const ChunkCallback kTakeAll = [](const Chunk&) { return true; };

// Keeps what it is handed.
struct FakeReceiver : StdioReceiver {
  FakeReceiver(uint64_t id, const ChunkCallback* on_chunk)
      : StdioReceiver(Agreement{.version = 2}, request, on_chunk) {
    set_id(id);
  }
  void Hand(Mail mail) override { mails.push_back(std::move(mail)); }

  CallRequest request;
  std::vector<Mail> mails;
};

class CallTableTest : public ::testing::Test {
 protected:
  // The call of a thread.
  FakeReceiver& AddThread(const ChunkCallback* on_chunk = nullptr) {
    kept_.push_back(std::make_shared<FakeReceiver>(++counts_.last_id, on_chunk));
    table_.Add(*kept_.back(), /*begin=*/10 * counts_.last_id);
    return *kept_.back();
  }
  // The call of the io thread.
  std::shared_ptr<FakeReceiver> AddIo(SteadyTime deadline) {
    auto receiver = std::make_shared<FakeReceiver>(++counts_.last_id, nullptr);
    table_.Add(receiver, /*begin=*/10 * counts_.last_id, deadline);
    return receiver;
  }
  bool Abandon(uint64_t id, SteadyTime end_of_grace) {
    return table_.Abandon(
        id, [this](AfterCall after) { released_.push_back(after); }, end_of_grace);
  }

  static Mail ResultOf(int64_t id) { return {.reply = Reply{.id = id, .has_value = true}}; }
  static Mail ChunkOf(int64_t id, size_t bytes) {
    return {.reply = Reply{.id = id,
                           .kind = Reply::Kind::kChunk,
                           .has_value = true,
                           .chunk_index = 0,
                           .final = false},
            .payload_bytes = bytes};
  }
  Result<bool> Deliver(Mail mail, const StdioReceiver* me = nullptr) {
    return table_.Deliver(mail, me);
  }

  const SteadyTime now_{};
  CallCounts counts_;
  std::vector<AfterCall> released_;
  StdioCallTable table_{
      counts_, [](StdioCallTable::Released released, AfterCall after) { released(after); }};
  std::vector<std::shared_ptr<FakeReceiver>> kept_;
};

TEST_F(CallTableTest, AReplyIsHandedToItsCallAndEndsIt) {
  FakeReceiver& first = AddThread();
  FakeReceiver& second = AddThread();
  EXPECT_FALSE(*Deliver(ResultOf(2)));
  EXPECT_THAT(first.mails, IsEmpty());
  EXPECT_EQ(second.mails.size(), 1u);
  EXPECT_TRUE(table_.IsAwaited(1));
  EXPECT_FALSE(table_.IsAwaited(2));
}

TEST_F(CallTableTest, TheReplyOfTheReaderIsLeftToIt) {
  FakeReceiver& me = AddThread();
  Mail mail = ResultOf(1);
  EXPECT_TRUE(*table_.Deliver(mail, &me));
  ASSERT_TRUE(mail.reply);
  EXPECT_EQ(mail.reply->id, 1);
  EXPECT_THAT(me.mails, IsEmpty());
  EXPECT_FALSE(table_.IsAwaited(1));
}

TEST_F(CallTableTest, AChunkDoesNotEndItsCallAndUsesCredit) {
  FakeReceiver& stream = AddThread(&kTakeAll);
  EXPECT_FALSE(*Deliver(ChunkOf(1, StdioReceiver::kStreamCredit)));
  EXPECT_TRUE(table_.IsAwaited(1));
  const auto beyond = Deliver(ChunkOf(1, 1));
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code, ErrorCode::kProtocolError);
  EXPECT_THAT(beyond.error().message, HasSubstr("no credit"));
  stream.AddCredit(2);
  EXPECT_TRUE(Deliver(ChunkOf(1, 1)));
}

TEST_F(CallTableTest, AnUnreadableReplyIsTheOneCallsInFlight) {
  FakeReceiver& one = AddThread();
  const Mail bad{.reply = Fail(ErrorCode::kProtocolError, "bad")};
  EXPECT_FALSE(*Deliver({.reply = bad.reply}));
  EXPECT_EQ(one.mails.size(), 1u);
  AddThread();
  AddThread();
  const auto of_several = Deliver({.reply = bad.reply});
  ASSERT_FALSE(of_several);
  EXPECT_EQ(of_several.error().message, "bad");
}

TEST_F(CallTableTest, AReplyToNoCallIsOutOfStep) {
  AddThread();
  for (const int64_t id : {0, -1, 2}) {
    const auto delivered = Deliver(ResultOf(id));
    ASSERT_FALSE(delivered) << id;
    EXPECT_THAT(delivered.error().message, HasSubstr("was not made"));
  }
  Mail without_id = ResultOf(1);
  without_id.reply->id = std::nullopt;
  EXPECT_THAT(Deliver(std::move(without_id)).error().message, HasSubstr("without an id"));
}

TEST_F(CallTableTest, ALateReplyIsIgnoredAndMoreMayCome) {
  AddThread();
  EXPECT_TRUE(Deliver(ResultOf(1)));
  EXPECT_EQ(counts_.unawaited, 0);
  EXPECT_FALSE(*Deliver(ResultOf(1)));
  EXPECT_EQ(counts_.unawaited, 1) << "the worker sends unasked";
  EXPECT_FALSE(*Deliver(ResultOf(1)));
  EXPECT_EQ(counts_.unawaited, 1);
}

TEST_F(CallTableTest, AnAbandonedCallIsReleasedByItsLastMessage) {
  AddThread(&kTakeAll);
  ASSERT_TRUE(Abandon(1, now_ + seconds(2)));
  EXPECT_EQ(counts_.unawaited, 1);
  EXPECT_FALSE(table_.IsAwaited(1));
  EXPECT_EQ(table_.next_deadline(), now_ + seconds(2));
  EXPECT_TRUE(Deliver(ChunkOf(1, 1 << 30))) << "it needs no credit";
  EXPECT_THAT(released_, IsEmpty());
  EXPECT_TRUE(Deliver(ResultOf(1)));
  EXPECT_THAT(released_, ElementsAre(AfterCall::kUsable));
  EXPECT_EQ(counts_.unawaited, 0);
  EXPECT_FALSE(table_.has_calls_of_no_thread());
  EXPECT_FALSE(Abandon(1, now_)) << "it has ended";
}

TEST_F(CallTableTest, AnAbandonedCallOverrunsItsGrace) {
  AddThread();
  Abandon(1, now_ + seconds(2));
  EXPECT_EQ(table_.Expire(now_ + seconds(1)), nullptr);
  EXPECT_THAT(released_, IsEmpty());
  EXPECT_EQ(table_.Expire(now_ + seconds(2)), nullptr);
  EXPECT_THAT(released_, ElementsAre(AfterCall::kOverran));
  EXPECT_EQ(counts_.unawaited, 1) << "its reply may come still";
  EXPECT_FALSE(*Deliver(ResultOf(1)));
  EXPECT_EQ(counts_.unawaited, 0);
}

TEST_F(CallTableTest, CallsOfNoThreadExpireOneAfterAnother) {
  const auto late = AddIo(now_ + seconds(3));
  const auto soon = AddIo(now_ + seconds(1));
  AddThread();
  EXPECT_EQ(table_.next_deadline(), now_ + seconds(1));
  EXPECT_EQ(table_.Expire(now_ + seconds(2)), soon);
  EXPECT_EQ(table_.Find(2), soon);
  ASSERT_TRUE(Abandon(2, now_ + seconds(9)));
  EXPECT_EQ(table_.Find(2), nullptr);
  EXPECT_EQ(table_.Expire(now_ + seconds(2)), nullptr);
  EXPECT_EQ(table_.Expire(now_ + seconds(4)), late);
  table_.Forget(1);
  EXPECT_EQ(counts_.unawaited, 2);
  EXPECT_EQ(table_.next_deadline(), now_ + seconds(9));
}

TEST_F(CallTableTest, TheEndOfTheConnectionEndsEachCall) {
  FakeReceiver& sent = AddThread();  // at byte 10
  const auto unsent = AddIo(now_ + seconds(1));
  AddThread();
  Abandon(3, now_ + seconds(1));
  table_.FailAll({.code = ErrorCode::kWorkerLost, .message = "gone"}, AfterCall::kLost, 20);
  ASSERT_EQ(sent.mails.size(), 1u);
  EXPECT_TRUE(sent.mails[0].reply.error().may_have_run);
  EXPECT_EQ(sent.mails[0].after, AfterCall::kLost);
  ASSERT_EQ(unsent->mails.size(), 1u);
  EXPECT_FALSE(unsent->mails[0].reply.error().may_have_run);
  EXPECT_THAT(released_, ElementsAre(AfterCall::kLost));
  EXPECT_FALSE(table_.has_calls_of_no_thread());
  ASSERT_TRUE(table_.closed());
  EXPECT_EQ(table_.closed()->after, AfterCall::kLost);
  EXPECT_EQ(table_.closed()->error.message, "gone");
}

}  // namespace
}  // namespace snakepit
