// Streams on stdio that no thread waits for. PROTOCOL.md 6.3, 6.6 and 6.7.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asio/post.hpp>
#include <atomic>
#include <future>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "src/transport/stdio/testing/fixture.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using Kind = PoolMessage::Kind;

using StdioStreamAsyncTest = StdioFixture;

TEST_F(StdioStreamAsyncTest, ChunksComeInOrderOnTheIoThread) {
  Connect(2);
  std::vector<Value> values;
  auto stream = StreamAsync(Request("stream"), [&](const Chunk& chunk) {
    EXPECT_EQ(std::this_thread::get_id(), thread_.get_id());
    EXPECT_EQ(chunk.index, static_cast<int64_t>(values.size()));
    values.push_back(chunk.value);
    return true;
  });
  const PoolMessage request = peer_->Read();
  ASSERT_TRUE(request.stream);
  auto other = CallOnThread(Request("other"));  // a thread reads for both
  const int64_t other_id = peer_->Read().id;
  for (int i = 0; i < 10; ++i) peer_->Chunk(request.id, i, false, i);
  peer_->Result(other_id, 1);
  EXPECT_TRUE(other.get().result);
  for (int i = 10; i < 20; ++i) peer_->Chunk(request.id, i, i == 19, i);
  const auto outcome = stream.get();
  ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
  EXPECT_EQ(*outcome.result, 20);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
  ASSERT_EQ(values.size(), 20u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(values[i], Value(i));
}

TEST_F(StdioStreamAsyncTest, ADeadlineEndsAStreamThatWaits) {
  Connect(1);
  auto stream = StreamAsync(Request("stream", In(milliseconds(50))), [](auto&) { return true; });
  const PoolMessage sent = peer_->Read();
  peer_->Chunk(sent.id, 0, false, 0);
  const auto outcome = stream.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_EQ(peer_->Read().kind, Kind::kCancel);
  peer_->Chunk(sent.id, 1, false, 1);
  peer_->EndOfStream(sent.id, 2);
  EXPECT_EQ(Released(), AfterCall::kUsable);
}

TEST_F(StdioStreamAsyncTest, AStopEndsAStreamThatWaits) {
  Connect(1);
  std::stop_source source;
  CallRequest request = Request("stream");
  request.stop = source.get_token();
  std::promise<void> one;
  auto stream = StreamAsync(request, [&](const Chunk&) {
    one.set_value();
    return true;
  });
  const PoolMessage sent = peer_->Read();
  peer_->Chunk(sent.id, 0, false, 0);
  one.get_future().get();
  source.request_stop();
  const auto outcome = stream.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_EQ(peer_->Read().kind, Kind::kCancel);
  peer_->Failure(sent.id, ErrorCode::kCancelled, 1);
  EXPECT_EQ(Released(), AfterCall::kUsable);
}

TEST_F(StdioStreamAsyncTest, AStopEndsAStreamThatAlwaysHasMore) {
  Connect(1);
  std::stop_source source;
  CallRequest request = Request("stream");
  request.stop = source.get_token();
  std::atomic<int> after_stop = 0;
  auto stream = StreamAsync(request, [&](const Chunk& chunk) {
    if (source.stop_requested()) ++after_stop;
    if (chunk.index == 2) source.request_stop();
    return true;
  });
  const PoolMessage sent = peer_->Read();
  for (int64_t i = 0; !peer_->HasMessage(milliseconds(0)); ++i) {
    peer_->Chunk(sent.id, i, false, Value());
  }
  EXPECT_EQ(stream.get().result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(after_stop, 0);
  EXPECT_EQ(peer_->Read().kind, Kind::kCancel);
  peer_->Failure(sent.id, ErrorCode::kCancelled, 0);
  EXPECT_EQ(Released(), AfterCall::kUsable);
}

TEST_F(StdioStreamAsyncTest, AStopBeforeItSendsNothing) {
  Connect(1);
  std::stop_source source;
  source.request_stop();
  CallRequest request = Request("stream");
  request.stop = source.get_token();
  const auto outcome = StreamAsync(request, [](auto&) { return true; }).get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kUnsent);
  EXPECT_FALSE(peer_->HasMessage(milliseconds(0)));
}

TEST_F(StdioStreamAsyncTest, ChunksBeforeTheLossAreTaken) {
  Connect(1);
  std::atomic<int> taken = 0;
  auto stream = StreamAsync(Request("stream"), [&](const Chunk&) {
    ++taken;
    return true;
  });
  const PoolMessage sent = peer_->Read();
  for (int i = 0; i < 4; ++i) peer_->Chunk(sent.id, i, false, i);
  peer_->Close();
  const auto outcome = stream.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kWorkerLost);
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kLost);
  EXPECT_EQ(taken, 4);
  EXPECT_EQ(StreamAsync(Request("next"), [](auto&) { return true; }).get().after, AfterCall::kLost);
}

TEST_F(StdioStreamAsyncTest, AWorkerThatDoesNotStreamGivesOneChunk) {
  Connect(0);
  std::vector<Chunk> chunks;
  auto stream = StreamAsync(Request("call"), [&](const Chunk& chunk) {
    chunks.push_back(chunk);
    return true;
  });
  peer_->Result(peer_->Read().id, 7);
  EXPECT_EQ(*stream.get().result, 1);
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].value, Value(7));
  EXPECT_TRUE(chunks[0].final);
}

// Calls back into the connection where it ends, as a capture of a callback may.
class Capture {
 public:
  Capture(Connection& connection, std::thread::id io, std::atomic<int>& elsewhere)
      : connection_(connection), io_(io), elsewhere_(elsewhere) {}
  ~Capture() {
    if (std::this_thread::get_id() == io_) {
      connection_.EndSession("s");  // takes the lock
    } else {
      ++elsewhere_;  // perhaps with the lock
    }
  }

 private:
  Connection& connection_;
  const std::thread::id io_;
  std::atomic<int>& elsewhere_;
};

TEST_F(StdioStreamAsyncTest, WithoutStreamsCallbacksEndOnTheIoThread) {
  stream_ = false;
  constexpr int kCalls = 2'000;
  Connect(kCalls + 1);
  std::atomic<int> elsewhere = 0;
  std::atomic<int> ended = 0;
  std::promise<void> all_ended;
  auto reader = CallOnThread(Request("reads"));
  peer_->Read();
  for (int i = 0; i < kCalls; ++i) {
    asio::post(io_, [&] {
      const auto capture = std::make_shared<Capture>(*connection_, thread_.get_id(), elsewhere);
      connection_->StreamAsync(
          Request("call"), [capture](const Chunk&) { return true; },
          [&, capture](const CallOutcome<int64_t>&) {
            if (++ended == kCalls) all_ended.set_value();
          });
    });
    peer_->Read();
  }
  // The thread that reads ends all calls with the lock, while the io thread runs their callbacks.
  peer_->Close();
  EXPECT_EQ(reader.get().after, AfterCall::kLost);
  all_ended.get_future().get();
  std::promise<void> destroyed;  // the last callback, too
  asio::post(io_, [&] { destroyed.set_value(); });
  destroyed.get_future().get();
  EXPECT_EQ(elsewhere, 0);
}

TEST_F(StdioStreamAsyncTest, LargeChunksArriveInOrder) {
  Connect(4);
  std::vector<size_t> sizes;
  auto stream = StreamAsync(Request("stream"), [&sizes](const Chunk& chunk) {
    sizes.push_back(chunk.value.get_if<std::string>()->size());
    return true;
  });
  const int64_t id = peer_->Read().id;
  const std::vector<size_t> expected = {1, 3 << 20, 2, 5 << 20, 3};
  for (size_t i = 0; i < expected.size(); ++i) {
    peer_->Chunk(id, static_cast<int64_t>(i), i + 1 == expected.size(),
                 std::string(expected[i], 'x'));
    while (i + 1 < expected.size() && expected[i] > 500'000) {
      if (peer_->Read().kind == Kind::kCredit) break;
    }
  }
  const auto outcome = stream.get();
  ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
  EXPECT_EQ(sizes, expected);
}

TEST_F(StdioStreamAsyncTest, SeveralStreamsShareTheIoThread) {
  Connect(8);
  std::vector<std::future<CallOutcome<int64_t>>> streams;
  std::vector<int64_t> ids;
  for (int i = 0; i < 8; ++i) {
    streams.push_back(StreamAsync(Request("stream"), [](auto&) { return true; }));
    ids.push_back(peer_->Read().id);
  }
  for (int i = 0; i < 100; ++i) {
    for (const int64_t id : ids) peer_->Chunk(id, i, i == 99, i);
  }
  for (auto& stream : streams) EXPECT_EQ(*stream.get().result, 100);
}

}  // namespace
}  // namespace snakepit
