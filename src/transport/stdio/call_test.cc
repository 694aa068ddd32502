#include "src/transport/stdio/call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace snakepit {
namespace {

using Next = StdioCall::Next;
using ::testing::HasSubstr;

class StdioCallTest : public ::testing::Test {
 protected:
  StdioCall MakeCall(int version = 2) { return {Agreement{.version = version}, request_, nullptr}; }
  StdioCall MakeStream(int version = 2) {
    return {Agreement{.version = version}, request_, &on_chunk_};
  }

  static Reply ResultOf(Value value) { return {.value = std::move(value), .has_value = true}; }
  static Reply ChunkOf(int64_t index, Value value, bool final = false) {
    return {.kind = Reply::Kind::kChunk,
            .value = std::move(value),
            .has_value = true,
            .chunk_index = index,
            .final = final};
  }
  static Reply EndOf(int64_t index) {
    return {.kind = Reply::Kind::kChunk, .chunk_index = index, .final = true};
  }
  static Reply ErrorOf(Error error, bool final = true) {
    return {.kind = Reply::Kind::kError, .error = std::move(error), .final = final};
  }

  void ExpectOutOfStep(StdioCall& call, std::string_view text) {
    const auto outcome = call.TakeOutcome();
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
    EXPECT_TRUE(outcome.result.error().may_have_run);
    EXPECT_THAT(outcome.result.error().message, HasSubstr(std::string(text)));
    EXPECT_EQ(outcome.after, AfterCall::kUnusable);
  }

  const CallRequest request_;
  std::vector<Chunk> chunks_;
  bool takes_more_ = true;
  const ChunkCallback on_chunk_ = [this](const Chunk& chunk) {
    chunks_.push_back(chunk);
    return takes_more_;
  };
};

TEST_F(StdioCallTest, AResultEndsACall) {
  StdioCall call = MakeCall();
  EXPECT_EQ(call.OnReply(ResultOf(7)), Next::kEnd);
  const auto outcome = call.TakeOutcome();
  EXPECT_EQ(outcome.result, Value(7));
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
}

TEST_F(StdioCallTest, AnErrorOfTheWorkerEndsACallAndLeavesItUsable) {
  StdioCall call = MakeCall();
  EXPECT_EQ(call.OnReply(ErrorOf({.code = ErrorCode::kHandlerFailed, .message = "no"})),
            Next::kEnd);
  const auto outcome = call.TakeOutcome();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kHandlerFailed);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
}

TEST_F(StdioCallTest, OnlyAVersion1ResultMayHideAnError) {
  const Value hidden = Value::Map{{"status", "error"}, {"error", "no"}};
  StdioCall version1 = MakeCall(1), version2 = MakeCall(2);
  version1.OnReply(ResultOf(hidden));
  version2.OnReply(ResultOf(hidden));
  EXPECT_FALSE(version1.TakeOutcome().result);
  EXPECT_EQ(version2.TakeOutcome().result, hidden);
}

TEST_F(StdioCallTest, AChunkForACallIsOutOfStep) {
  StdioCall call = MakeCall();
  EXPECT_EQ(call.OnReply(ChunkOf(0, 1)), Next::kEnd);
  ExpectOutOfStep(call, "no stream");
  StdioCall undecoded = MakeCall();
  EXPECT_EQ(undecoded.OnReply(ErrorOf({.code = ErrorCode::kMessageTooLarge}, false)), Next::kEnd);
  ExpectOutOfStep(undecoded, "no stream");
}

TEST_F(StdioCallTest, ChunksOfAStreamComeInOrderUpToTheFinalOne) {
  StdioCall stream = MakeStream();
  EXPECT_EQ(stream.OnReply(ChunkOf(0, "a")), Next::kAwaitMore);
  EXPECT_EQ(stream.OnReply(ChunkOf(1, "b", /*final=*/true)), Next::kEnd);
  EXPECT_EQ(stream.TakeStreamOutcome().result, 2);
  ASSERT_EQ(chunks_.size(), 2u);
  EXPECT_FALSE(chunks_[0].final);
  EXPECT_TRUE(chunks_[1].final);
  EXPECT_EQ(chunks_[1].index, 1);
}

TEST_F(StdioCallTest, AnEndWithoutAChunkIsNoChunk) {
  StdioCall stream = MakeStream();
  EXPECT_EQ(stream.OnReply(EndOf(0)), Next::kEnd);
  EXPECT_EQ(stream.TakeStreamOutcome().result, 0);
  EXPECT_TRUE(chunks_.empty());
}

TEST_F(StdioCallTest, AChunkTooEarlyOrTwiceIsOutOfStep) {
  for (const int64_t index : {0, 2}) {
    StdioCall stream = MakeStream();
    stream.OnReply(ChunkOf(0, "a"));
    EXPECT_EQ(stream.OnReply(ChunkOf(index, "b")), Next::kEnd);
    ExpectOutOfStep(stream, "sent chunk " + std::to_string(index) + " where chunk 1 was due");
  }
  EXPECT_EQ(chunks_.size(), 2u) << "the wrong ones are not shown";
}

TEST_F(StdioCallTest, AResultIsTheOneChunkOfAStreamUnlessOneHasCome) {
  StdioCall alone = MakeStream();
  EXPECT_EQ(alone.OnReply(ResultOf(7)), Next::kEnd);
  EXPECT_EQ(alone.TakeStreamOutcome().result, 1);
  EXPECT_TRUE(chunks_.back().final);
  StdioCall late = MakeStream();
  late.OnReply(ChunkOf(0, "a"));
  EXPECT_EQ(late.OnReply(ResultOf(7)), Next::kEnd);
  ExpectOutOfStep(late, "middle of a stream");
}

TEST_F(StdioCallTest, AStreamThatIsGivenUpIsAbandonedUnlessThatWasItsEnd) {
  takes_more_ = false;
  StdioCall early = MakeStream(), at_its_end = MakeStream(), at_its_result = MakeStream();
  EXPECT_EQ(early.OnReply(ChunkOf(0, "a")), Next::kAbandon);
  EXPECT_EQ(early.TakeStreamOutcome().after, AfterCall::kAbandoned);
  EXPECT_EQ(at_its_end.OnReply(ChunkOf(0, "a", /*final=*/true)), Next::kEnd);
  EXPECT_EQ(at_its_result.OnReply(ResultOf(7)), Next::kEnd);
  for (StdioCall* ended : {&at_its_end, &at_its_result}) {
    const auto outcome = ended->TakeStreamOutcome();
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(outcome.after, AfterCall::kUsable);
  }
}

TEST_F(StdioCallTest, AChunkOverTheLimitsGivesTheStreamUp) {
  StdioCall stream = MakeStream();
  EXPECT_EQ(stream.OnReply(ErrorOf({.code = ErrorCode::kMessageTooLarge}, /*final=*/false)),
            Next::kAbandon);
  const auto outcome = stream.TakeStreamOutcome();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kMessageTooLarge);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
}

TEST_F(StdioCallTest, AnUnreadableMessageCostsTheConnectionOfAStreamAlone) {
  StdioCall call = MakeCall(), stream = MakeStream();
  call.OnUndecodable({.code = ErrorCode::kProtocolError});
  stream.OnUndecodable({.code = ErrorCode::kProtocolError});
  const auto outcome = call.TakeOutcome();
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
  EXPECT_EQ(stream.TakeStreamOutcome().after, AfterCall::kUnusable) << "more of it may follow";
}

}  // namespace
}  // namespace snakepit
