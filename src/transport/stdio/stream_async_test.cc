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

class StdioStreamAsyncTest : public StdioFixture {
 protected:
  std::future<CallOutcome<int64_t>> Stream(const CallRequest& request, ChunkCallback on_chunk) {
    auto done = std::make_shared<std::promise<CallOutcome<int64_t>>>();
    asio::post(io_, [=, this] {
      connection_->StreamAsync(request, on_chunk, [this, done](CallOutcome<int64_t> outcome) {
        EXPECT_EQ(std::this_thread::get_id(), thread_.get_id());
        done->set_value(std::move(outcome));
      });
    });
    return done->get_future();
  }
};

TEST_F(StdioStreamAsyncTest, ChunksComeInOrderOnTheIoThread) {
  Connect(2);
  std::vector<Value> values;
  auto stream = Stream(Request("stream"), [&](const Chunk& chunk) {
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

TEST_F(StdioStreamAsyncTest, CreditIsGivenAsChunksAreTaken) {
  Connect(2);
  std::promise<void> stalled, go_on;
  std::atomic<int64_t> taken = 0;
  auto stream = Stream(Request("stream"), [&](const Chunk& chunk) {
    if (chunk.index == 0) {
      stalled.set_value();
      go_on.get_future().get();
    }
    ++taken;
    return true;
  });
  const PoolMessage request = peer_->Read();
  ASSERT_TRUE(request.credit);
  int64_t credit = *request.credit;
  const Value chunk = Bytes{std::string(100'000, 'x')};
  int64_t sent = 0;
  const auto send = [&] {
    credit -= static_cast<int64_t>(peer_->Chunk(request.id, sent++, false, chunk));
  };
  send();
  stalled.get_future().get();
  while (credit > 0) {
    send();
    auto other = CallOnThread(Request("other"));  // reads while the io thread is held
    peer_->Result(peer_->Read().id, 5);
    EXPECT_TRUE(other.get().result);
  }
  EXPECT_EQ(taken, 0);
  EXPECT_FALSE(peer_->HasMessage(milliseconds(20))) << "no credit while nothing is taken";
  go_on.set_value();
  while (sent < 100) {
    const PoolMessage grant = peer_->Read();
    ASSERT_EQ(grant.kind, Kind::kCredit);
    EXPECT_EQ(grant.id, request.id);
    credit += *grant.credit;
    while (credit > 0 && sent < 100) send();
  }
  peer_->EndOfStream(request.id, sent);
  const auto outcome = stream.get();
  ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
  EXPECT_EQ(*outcome.result, 100);
  EXPECT_EQ(taken, 100);
}

TEST_F(StdioStreamAsyncTest, AWorkerThatSendsWithoutCreditIsOutOfStep) {
  Connect(2);
  std::promise<void> stalled, go_on;
  auto stream = Stream(Request("stream"), [&](const Chunk& chunk) {
    if (chunk.index == 0) {
      stalled.set_value();
      go_on.get_future().get();
    }
    return true;
  });
  const int64_t id = peer_->Read().id;
  const Value chunk = Bytes{std::string(100'000, 'x')};
  peer_->Chunk(id, 0, false, chunk);
  stalled.get_future().get();
  auto other = CallOnThread(Request("other"));
  peer_->Read();
  for (int i = 1; i < 12; ++i) peer_->Chunk(id, i, false, chunk);
  EXPECT_EQ(other.get().after, AfterCall::kUnusable);
  go_on.set_value();
  const auto outcome = stream.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_EQ(outcome.after, AfterCall::kUnusable);
}

TEST_F(StdioStreamAsyncTest, ADeadlineEndsAStreamThatWaits) {
  Connect(1);
  auto stream = Stream(Request("stream", In(milliseconds(50))), [](auto&) { return true; });
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
  auto stream = Stream(request, [&](const Chunk&) {
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
  auto stream = Stream(request, [&](const Chunk& chunk) {
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
  const auto outcome = Stream(request, [](auto&) { return true; }).get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kUnsent);
  EXPECT_FALSE(peer_->HasMessage(milliseconds(0)));
}

TEST_F(StdioStreamAsyncTest, AStreamThatItsCallbackGivesUpIsReadToItsEnd) {
  Connect(1);
  auto stream = Stream(Request("stream"), [](const Chunk& chunk) { return chunk.index < 1; });
  const PoolMessage sent = peer_->Read();
  for (int i = 0; i < 4; ++i) peer_->Chunk(sent.id, i, false, i);
  const auto outcome = stream.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_EQ(peer_->Read().kind, Kind::kCancel);
  peer_->Chunk(sent.id, 4, false, 4);
  peer_->Failure(sent.id, ErrorCode::kCancelled, 5);
  EXPECT_EQ(Released(), AfterCall::kUsable);
}

TEST_F(StdioStreamAsyncTest, ChunksBeforeTheLossAreTaken) {
  Connect(1);
  std::atomic<int> taken = 0;
  auto stream = Stream(Request("stream"), [&](const Chunk&) {
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
  EXPECT_EQ(Stream(Request("next"), [](auto&) { return true; }).get().after, AfterCall::kLost);
}

TEST_F(StdioStreamAsyncTest, AWorkerThatDoesNotStreamGivesOneChunk) {
  Connect(0);
  std::vector<Chunk> chunks;
  auto stream = Stream(Request("call"), [&](const Chunk& chunk) {
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
  auto stream = Stream(Request("stream"), [&sizes](const Chunk& chunk) {
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
    streams.push_back(Stream(Request("stream"), [](auto&) { return true; }));
    ids.push_back(peer_->Read().id);
  }
  for (int i = 0; i < 100; ++i) {
    for (const int64_t id : ids) peer_->Chunk(id, i, i == 99, i);
  }
  for (auto& stream : streams) EXPECT_EQ(*stream.get().result, 100);
}

}  // namespace
}  // namespace snakepit
