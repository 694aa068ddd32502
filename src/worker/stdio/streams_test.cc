// Streams over stdio: chunks, credit, and how they end.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "src/worker/stdio/testing/fixture.h"

namespace snakepit {
namespace {

using testing::Args;
using testing::StdioPeer;

using StdioStreamTest = testing::StdioServerTest;

TEST_P(StdioStreamTest, StreamsChunks) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t id = peer.Send("bytes", Value::Map{{"n", 3}, {"size", 2}}, {.stream = true});
  for (int i = 0; i < 3; ++i) {
    const Reply chunk = *peer.Receive();
    EXPECT_EQ(chunk.id, static_cast<int64_t>(id));
    EXPECT_EQ(chunk.kind, Reply::Kind::kChunk);
    EXPECT_EQ(chunk.chunk_index, i);
    EXPECT_FALSE(chunk.final);
    EXPECT_EQ(chunk.value, Value(Bytes{"xx"}));
  }
  const Reply end = *peer.Receive();
  EXPECT_TRUE(end.final);
  EXPECT_FALSE(end.has_value);
  EXPECT_EQ(end.chunk_index, 3);
}

TEST_P(StdioStreamTest, AnEmptyStreamIsOneMessageWithoutAChunk) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Reply end = peer.Call("bytes", Value::Map{{"n", 0}, {"size", 2}}, {.stream = true});
  EXPECT_EQ(end.kind, Reply::Kind::kChunk);
  EXPECT_TRUE(end.final);
  EXPECT_FALSE(end.has_value);
  EXPECT_EQ(end.chunk_index, 0);
}

TEST_P(StdioStreamTest, TheLastChunkIsMarked) {
  Create();
  std::atomic<bool> refused{false};
  commands().registry.AddStream("last", [&](const Call&, ChunkSink& out) -> Result<void> {
    out.SendLast(Value::Map{});
    refused = !out.Send(1);
    return {};
  });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Reply end = peer.Call("last", Value::Map{}, {.stream = true});
  EXPECT_TRUE(end.final);
  EXPECT_EQ(end.value, Value(Value::Map{}));
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  EXPECT_TRUE(refused);
}

TEST_P(StdioStreamTest, AStreamMayEndInAnErrorAfterKChunks) {
  Create();
  commands().registry.AddStream("fails", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1) && out.Send(2)) throw std::runtime_error("no row 2");
    return {};
  });
  commands().registry.AddStream("bad", [](const Call&, ChunkSink& out) -> Result<void> {
    if (out.Send(1) && out.Send("\xff")) std::abort();
    return {};
  });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("fails", Value::Map{}, {.stream = true});
  EXPECT_EQ(peer.Receive()->value, Value(1));
  EXPECT_EQ(peer.Receive()->value, Value(2));
  Reply end = *peer.Receive();
  EXPECT_EQ(end.kind, Reply::Kind::kError);
  EXPECT_EQ(end.chunk_index, 2);
  EXPECT_EQ(end.error.message, "std::runtime_error: no row 2");
  peer.Send("bad", Value::Map{}, {.stream = true});
  EXPECT_EQ(peer.Receive()->value, Value(1));
  end = *peer.Receive();
  EXPECT_EQ(end.chunk_index, 1);
  EXPECT_EQ(end.error.code, ErrorCode::kHandlerFailed);
}

TEST_P(StdioStreamTest, CommandsAndStreamsStandInForEachOther) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Reply chunk = peer.Call("echo", Args(1), {.stream = true});
  EXPECT_EQ(chunk.kind, Reply::Kind::kChunk);
  EXPECT_TRUE(chunk.final);
  EXPECT_EQ(chunk.value, Args(1));
  EXPECT_EQ(peer.Call("bytes", Value::Map{{"n", 2}, {"size", 1}}).value,
            Value(Value::Map{{"chunks", Value::Array{Bytes{"x"}, Bytes{"x"}}}}));
  const Reply unknown = peer.Call("nope", Value::Map{}, {.stream = true});
  EXPECT_EQ(unknown.error.code, ErrorCode::kUnimplemented);
  EXPECT_FALSE(unknown.error.may_have_run);
}

TEST_P(StdioStreamTest, AStreamSendsNoMoreThanItsCredit) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  int64_t credit = 3000;
  const uint64_t id = peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}},
                                {.stream = true, .credit = credit});
  int chunks = 0;
  // Any credit above 0 is enough for a chunk of any size, which may take it below 0.
  const auto receive_all_credit = [&] {
    for (; credit > 0; ++chunks) {
      EXPECT_EQ(peer.Receive()->chunk_index, chunks);
      credit -= static_cast<int64_t>(peer.last_payload_bytes());
    }
    // It asks twice, so that a surplus chunk comes before or between the answers.
    for (int i = 0; i < 2; ++i) {
      const uint64_t health = peer.AskHealth();
      EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(health));
    }
    EXPECT_LE(produced_, chunks + 1);
  };
  receive_all_credit();
  peer.Grant(id, 5000);
  credit += 5000;
  receive_all_credit();
  peer.Grant(id, 10'000'000);
  for (; chunks < 1000; ++chunks) EXPECT_EQ(peer.Receive()->chunk_index, chunks);
  EXPECT_TRUE(peer.Receive()->final);
  EXPECT_EQ(produced_, 1000);
  // Grants to a call that has ended, and to no call.
  peer.Grant(id, 1);
  peer.Grant(12345, 1);
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
}

TEST_P(StdioStreamTest, AStreamThatWaitsForCreditIsCancelled) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t id =
      peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}}, {.stream = true, .credit = 1});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  peer.Cancel(id);
  const Reply end = *peer.Receive();
  EXPECT_EQ(end.kind, Reply::Kind::kError);
  EXPECT_EQ(end.error.code, ErrorCode::kCancelled);
  EXPECT_EQ(end.chunk_index, 1);
  EXPECT_TRUE(end.error.may_have_run);
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
}

TEST_P(StdioStreamTest, AStreamThatWaitsForCreditEndsAtItsDeadline) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}},
            {.stream = true, .credit = 1, .timeout_ms = 30});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  EXPECT_EQ(peer.Receive()->error.code, ErrorCode::kDeadlineExceeded);
}

// No more credit can come.
TEST_P(StdioStreamTest, AStreamThatWaitsForCreditEndsWithTheInput) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}}, {.stream = true, .credit = 1});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  peer.CloseInput();
  const auto end = peer.Receive();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->error.code, ErrorCode::kCancelled);
  EXPECT_EQ(end->chunk_index, 1);
  EXPECT_EQ(AwaitEnd(), 0);
}

TEST_P(StdioStreamTest, AStreamThatWaitsForCreditEndsWithAFault) {
  Create();
  StdioPeer& peer = Serve(4096);
  peer.Negotiate(GetParam());
  peer.Send("bytes", Value::Map{{"n", 1000}, {"size", 1000}}, {.stream = true, .credit = 1});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  peer.SendBytes("\xff\xff\xff\xff");  // a length over the limit
  EXPECT_EQ(peer.Receive()->id, std::nullopt);
  const auto end = peer.Receive();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->error.code, ErrorCode::kCancelled);
  EXPECT_EQ(end->chunk_index, 1);
  EXPECT_EQ(AwaitEnd(), 1);
}

INSTANTIATE_TEST_SUITE_P(Codecs, StdioStreamTest,
                         ::testing::Values(Codec::kJson, Codec::kMessagePack),
                         [](const auto& info) { return std::string(CodecName(info.param)); });

}  // namespace
}  // namespace snakepit
