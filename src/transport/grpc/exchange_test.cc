#include "src/transport/grpc/exchange.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/transport/grpc/testing/lone_link.h"

namespace snakepit {
namespace {

using StreamReply = GrpcReply<StreamResponse>;

const grpc::Status kFailed(grpc::StatusCode::UNAVAILABLE, "gone");

// --- The messages of a stream --------------------------------------------------------------------

StreamReply MessageOf(bool is_final) {
  StreamReply reply;
  reply.came = true;
  reply.message.set_is_final(is_final);
  return reply;
}

TEST(StreamState, CountsItsChunksAndMarksTheFinalOne) {
  std::vector<Chunk> chunks;
  const ChunkCallback take = [&chunks](const Chunk& chunk) {
    chunks.push_back(chunk);
    return true;
  };
  StreamState stream;
  stream.Take(MessageOf(false), Value("a"), {}, take);
  EXPECT_FALSE(stream.is_over());
  stream.Take(MessageOf(true), Value("b"), {}, take);
  EXPECT_TRUE(stream.is_over());
  EXPECT_TRUE(stream.ended);
  EXPECT_EQ(stream.chunks, 2);
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_FALSE(chunks[0].final);
  EXPECT_TRUE(chunks[1].final);
  EXPECT_EQ(chunks[1].index, 1);
}

TEST(StreamState, AFinalMessageWithoutAChunkIsNoneAndEndsIt) {
  StreamState stream;
  stream.Take(MessageOf(true), std::nullopt, {}, [](const Chunk&) { return false; });
  EXPECT_TRUE(stream.ended);
  EXPECT_EQ(stream.chunks, 0);
  EXPECT_FALSE(stream.error);
}

TEST(StreamState, IsOverWhenItsCallerTakesNoMore) {
  StreamState stream;
  stream.Take(MessageOf(false), Value("a"), {}, [](const Chunk&) { return false; });
  EXPECT_TRUE(stream.is_over());
  EXPECT_FALSE(stream.ended) << "the worker may go on";
  EXPECT_EQ(stream.error->code, ErrorCode::kCancelled);
}

TEST(StreamState, AnUnreadableFinalMessageIsNotTheWorkersEnd) {
  StreamReply reply = MessageOf(true);
  reply.unreadable = "text that is not UTF-8";
  StreamState stream;
  stream.Take(reply, Fail(ErrorCode::kProtocolError, "unreadable"), {},
              [](const Chunk&) { return true; });
  EXPECT_FALSE(stream.ended);
  EXPECT_EQ(stream.error->code, ErrorCode::kProtocolError);
}

// --- Outcomes ------------------------------------------------------------------------------------

class GrpcExchangeTest : public ::testing::Test {
 protected:
  GrpcExchange Make(int version, bool session = false) {
    return {lone_.link, lone_.peer, Agreement{.version = version, .session = session}};
  }
  // The outcome of a stream that ended so, with a worker of that version.
  CallOutcome<int64_t> OutcomeOf(int version, StreamState stream, const grpc::Status& status,
                                 RpcEnd end = RpcEnd::kAnswered) {
    return Make(version).StreamOutcome(std::move(stream), status, end, {});
  }

  testing::LoneLink lone_;
};

TEST_F(GrpcExchangeTest, ASessionIsNamedWhereTheWorkerKnowsSessions) {
  const CallRequest with{.session_id = "s"}, without;
  EXPECT_TRUE(Make(2, /*session=*/true).InSession(with));
  EXPECT_FALSE(Make(2, /*session=*/false).InSession(with));
  EXPECT_TRUE(Make(1).InSession(with)) << "version 1 does not say";
  EXPECT_FALSE(Make(2, /*session=*/true).InSession(without));
}

TEST_F(GrpcExchangeTest, AStreamEndsByItsFinalMessageWhateverTheStatusIs) {
  const auto outcome = OutcomeOf(2, {.chunks = 3, .ended = true}, kFailed, RpcEnd::kLost);
  EXPECT_EQ(outcome.result, 3);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
}

TEST_F(GrpcExchangeTest, OkWithoutAFinalMessageIsAnEndInVersion1Alone) {
  EXPECT_EQ(OutcomeOf(1, {.chunks = 3}, grpc::Status::OK).result, 3);
  const auto outcome = OutcomeOf(2, {.chunks = 3}, grpc::Status::OK);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
}

TEST_F(GrpcExchangeTest, AStreamThatThisSideEndedMayGoOnAtTheWorker) {
  const Error given_up{.code = ErrorCode::kCancelled};
  EXPECT_EQ(OutcomeOf(2, {.error = given_up}, kFailed).after, AfterCall::kAbandoned);
  EXPECT_EQ(OutcomeOf(2, {.ended = true, .error = given_up}, kFailed).after, AfterCall::kUsable);
  EXPECT_EQ(OutcomeOf(1, {.error = given_up}, kFailed).after, AfterCall::kUsable)
      << "version 1 does not tell";
}

TEST_F(GrpcExchangeTest, AStreamThatHasGivenAChunkWasSent) {
  const auto nothing_came = OutcomeOf(2, {}, kFailed, RpcEnd::kUnsent);
  EXPECT_EQ(nothing_came.after, AfterCall::kUnsent);
  EXPECT_FALSE(nothing_came.result.error().may_have_run);
  const auto a_chunk_came = OutcomeOf(2, {.chunks = 1}, kFailed, RpcEnd::kUnsent);
  EXPECT_EQ(a_chunk_came.after, AfterCall::kLost);
  EXPECT_TRUE(a_chunk_came.result.error().may_have_run);
}

TEST_F(GrpcExchangeTest, AfterAnAbortEveryFailureIsTheLossOfTheWorker) {
  GrpcExchange exchange = Make(2);
  exchange.Abort();
  EXPECT_TRUE(exchange.IsCancelledHere({}));
  const auto outcome = exchange.Failed(kFailed, RpcEnd::kUnsent, {});
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kWorkerLost);
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kLost);
}

TEST_F(GrpcExchangeTest, WhatTheWorkerAnswersIsASignOfLife) {
  GrpcExchange exchange = Make(2);
  (void)exchange.Failed(kFailed, RpcEnd::kUnsent, {});
  EXPECT_EQ(exchange.replies(), 0u) << "that came from nobody";
  (void)exchange.Failed({grpc::StatusCode::INTERNAL, "no"}, RpcEnd::kAnswered, {});
  EXPECT_EQ(exchange.replies(), 1u);
}

}  // namespace
}  // namespace snakepit
