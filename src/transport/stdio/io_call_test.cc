#include "src/transport/stdio/io_call.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "src/base/fd.h"

namespace snakepit {
namespace {

// A link to nobody: the test hands each message to its call itself.
class StdioIoCallTest : public ::testing::Test {
 protected:
  StdioIoCallTest() : input_(*OpenSocketPair()), output_(*OpenSocketPair()) {}

  std::shared_ptr<StdioIoCall> Make(ChunkCallback on_chunk) {
    const CallRequest request{.command = "c",
                              .deadline = std::chrono::steady_clock::now() + std::chrono::hours(1)};
    return std::make_shared<StdioIoCall>(
        *link_, request, std::move(on_chunk),
        [this](StdioCall& ended) { outcomes_.push_back(ended.TakeOutcome()); });
  }
  std::shared_ptr<StdioIoCall> MakeStream() {
    return Make([this](const Chunk& chunk) {
      chunks_.push_back(chunk.index);
      return true;
    });
  }
  void Hand(StdioIoCall& call, Mail mail) {
    const MutexLock lock(link_->mutex());
    call.Hand(std::move(mail));
  }
  // Runs the turns that are due.
  size_t Poll() {
    io_.restart();
    return io_.poll();
  }

  static Mail ResultOf(Value value) {
    return {.reply = Reply{.id = 1, .value = std::move(value), .has_value = true}};
  }
  static Mail ChunkOf(int64_t index, bool final = false) {
    return {.reply = Reply{.id = 1,
                           .kind = Reply::Kind::kChunk,
                           .value = Value(index),
                           .has_value = true,
                           .chunk_index = index,
                           .final = final}};
  }

  asio::io_context io_;
  FdPair input_;
  FdPair output_;
  std::shared_ptr<StdioLink> link_ = std::make_shared<StdioLink>(
      io_,
      std::make_shared<FrameChannel>(std::move(input_.first), std::move(output_.first), 1 << 20),
      Agreement{.version = 2, .stream = true}, /*max_decoded_bytes=*/SIZE_MAX,
      std::chrono::milliseconds(1));
  std::vector<CallOutcome<Value>> outcomes_;
  std::vector<int64_t> chunks_;
};

TEST_F(StdioIoCallTest, AMessageIsTakenInATurnOfTheIoContext) {
  const auto call = Make(nullptr);
  Hand(*call, ResultOf(7));
  EXPECT_TRUE(outcomes_.empty()) << "the reader has the lock";
  Poll();
  ASSERT_EQ(outcomes_.size(), 1u);
  EXPECT_EQ(outcomes_[0].result, Value(7));
}

TEST_F(StdioIoCallTest, OneTurnTakesAllChunksThatHaveCome) {
  const auto stream = MakeStream();
  for (int index = 0; index < 3; ++index) Hand(*stream, ChunkOf(index));
  EXPECT_EQ(Poll(), 1u);
  EXPECT_EQ(chunks_, (std::vector<int64_t>{0, 1, 2}));
  Hand(*stream, ChunkOf(3, /*final=*/true));
  EXPECT_EQ(Poll(), 1u);
  EXPECT_EQ(chunks_.size(), 4u);
  EXPECT_EQ(outcomes_.size(), 1u);
}

TEST_F(StdioIoCallTest, AChunkThatComesDuringATurnHasTheNextOne) {
  std::shared_ptr<StdioIoCall> stream;
  stream = Make([&](const Chunk& chunk) {
    chunks_.push_back(chunk.index);
    if (chunk.index < 2) Hand(*stream, ChunkOf(chunk.index + 1));
    return true;
  });
  Hand(*stream, ChunkOf(0));
  io_.restart();
  EXPECT_EQ(io_.poll_one(), 1u);
  EXPECT_EQ(chunks_.size(), 1u) << "other work of the thread has its turn";
  EXPECT_EQ(Poll(), 2u);
  EXPECT_EQ(chunks_, (std::vector<int64_t>{0, 1, 2}));
  stream = nullptr;
}

TEST_F(StdioIoCallTest, ACallThatIsGivenUpEndsOnceAndTakesNothingMore) {
  const auto stream = MakeStream();
  Hand(*stream, ChunkOf(0));
  {
    const MutexLock lock(link_->mutex());
    stream->GiveUp({.code = ErrorCode::kCancelled}, AfterCall::kAbandoned);
    stream->GiveUp({.code = ErrorCode::kInternal}, AfterCall::kLost);
  }
  EXPECT_TRUE(outcomes_.empty()) << "not with the lock";
  Hand(*stream, ChunkOf(1, /*final=*/true));
  Poll();
  EXPECT_TRUE(chunks_.empty());
  ASSERT_EQ(outcomes_.size(), 1u);
  EXPECT_EQ(outcomes_[0].result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcomes_[0].after, AfterCall::kAbandoned);
}

TEST_F(StdioIoCallTest, AReplyToACallThatWasGivenUpIsDropped) {
  const auto call = Make(nullptr);
  Hand(*call, ResultOf(7));
  {
    const MutexLock lock(link_->mutex());
    call->GiveUp({.code = ErrorCode::kCancelled}, AfterCall::kUsable);
  }
  Poll();
  ASSERT_EQ(outcomes_.size(), 1u);
  EXPECT_EQ(outcomes_[0].result.error().code, ErrorCode::kCancelled);
}

TEST_F(StdioIoCallTest, ACallThatIsRefusedWasNotSent) {
  Make(nullptr)->Refuse({.code = ErrorCode::kInvalidArgument});
  ASSERT_EQ(outcomes_.size(), 1u);
  EXPECT_EQ(outcomes_[0].after, AfterCall::kUnsent);
}

TEST_F(StdioIoCallTest, WithoutMemoryForAMessageTheConnectionIsOfNoUse) {
  const auto stream = Make([](const Chunk&) -> bool { throw std::bad_alloc(); });
  Hand(*stream, ChunkOf(0));
  Hand(*stream, ChunkOf(1));
  Poll();
  ASSERT_EQ(outcomes_.size(), 1u);
  EXPECT_EQ(outcomes_[0].result.error().code, ErrorCode::kInternal);
  EXPECT_TRUE(outcomes_[0].result.error().may_have_run);
  EXPECT_EQ(outcomes_[0].after, AfterCall::kUnusable);
}

}  // namespace
}  // namespace snakepit
