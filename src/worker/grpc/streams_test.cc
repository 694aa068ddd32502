// Streams over gRPC: chunks, backpressure, and how they end.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "src/worker/grpc/testing/fixture.h"

namespace snakepit {
namespace {

using testing::Typed;
using testing::Untyped;
using GrpcStreamTest = testing::GrpcServerTest;

TEST_F(GrpcStreamTest, StreamsChunks) {
  Create();
  Serve();
  const auto messages = Stream("chunks", Value::Map{{"n", 3}});
  ASSERT_EQ(messages.size(), 4u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Untyped(messages[i].typed_chunk()), Value(Value::Map{{"i", i}}));
    EXPECT_EQ(messages[i].chunk_index(), i);
    EXPECT_FALSE(messages[i].is_final());
  }
  EXPECT_TRUE(messages[3].is_final());
  EXPECT_EQ(messages[3].typed_chunk(), "");
  EXPECT_EQ(messages[3].chunk_index(), 3);
  EXPECT_EQ(Stream("chunks", Value::Map{{"n", 0}}).size(), 1u);
}

TEST_F(GrpcStreamTest, TheLastChunkIsMarked) {
  Create();
  commands_->registry.AddStream("last", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1)) out.SendLast(Value::Map{});
    if (out.Send(2)) std::abort();
    return {};
  });
  Serve();
  const auto messages = Stream("last", Value::Map{});
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_TRUE(messages[1].is_final());
  EXPECT_EQ(Untyped(messages[1].typed_chunk()), Value(Value::Map{}));
  // An empty map and no chunk look the same in version 1.
  ExecuteRequest request;
  request.set_command("last");
  const auto legacy = Stream(request);
  ASSERT_EQ(legacy.size(), 3u);
  EXPECT_EQ(legacy[0].chunk().at("result"), "1");
  EXPECT_FALSE(legacy[1].is_final());
  EXPECT_TRUE(legacy[2].is_final());
}

TEST_F(GrpcStreamTest, AStreamMayEndInAnErrorAfterKChunks) {
  Create();
  commands_->registry.AddStream("fails", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1) && out.Send(2)) throw std::runtime_error("no row 2");
    return {};
  });
  Serve();
  const auto messages = Stream("fails", Value::Map{});
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_TRUE(messages[2].is_final());
  EXPECT_EQ(messages[2].error(), "std::runtime_error: no row 2");
  EXPECT_EQ(messages[2].chunk_index(), 2);
  const auto unknown = Stream("nope", Value::Map{});
  ASSERT_EQ(unknown.size(), 1u);
  EXPECT_EQ(unknown[0].code(), "UNIMPLEMENTED");
}

TEST_F(GrpcStreamTest, AChunkThatCannotBeSentEndsTheStream) {
  Create();
  commands_->registry.AddStream("bad", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1) && out.Send("\xff")) std::abort();
    return {};
  });
  Serve(4096);
  auto messages = Stream("chunks", Value::Map{{"n", 2}, {"size", 5000}});
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].code(), "MESSAGE_TOO_LARGE");
  EXPECT_EQ(produced_, 1);
  messages = Stream("bad", Value::Map{});
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[1].code(), "HANDLER_FAILED");
  EXPECT_EQ(messages[1].chunk_index(), 1);
}

TEST_F(GrpcStreamTest, CommandsAndStreamsStandInForEachOther) {
  Create();
  Serve();
  const auto messages = Stream("echo", Value::Map{{"a", 1}});
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_TRUE(messages[0].is_final());
  EXPECT_EQ(Untyped(messages[0].typed_chunk()), Value(Value::Map{{"a", 1}}));
  EXPECT_EQ(Untyped(Execute("chunks", Value::Map{{"n", 1}}).typed_result()),
            Value(Value::Map{{"chunks", Value::Array{Value::Map{{"i", 0}}}}}));
}

TEST_F(GrpcStreamTest, AReaderThatStallsStopsTheProducer) {
  Create();
  Serve();
  grpc::ClientContext context;
  SetUp(&context);
  ExecuteRequest request;
  request.set_command("chunks");
  request.set_typed_args(Typed(Value::Map{{"n", 10'000}, {"size", 64 << 10}}));
  auto reader = stub_->ExecuteStream(&context, request);
  StreamResponse message;
  ASSERT_TRUE(reader->Read(&message));
  // It comes to rest far from the 10,000: what the transport holds is bounded.
  int before = -1;
  for (int now = produced_; now != before; now = produced_) {
    before = now;
    for (int i = 0; i < 20; ++i) Health();  // a pause, and an answer
  }
  EXPECT_LT(produced_, 1000);
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  AwaitAtLeast(given_up_, 1);
}

}  // namespace
}  // namespace snakepit
