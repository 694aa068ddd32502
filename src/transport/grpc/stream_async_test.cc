// Streams over gRPC that no thread waits for. PROTOCOL.md 4.5, 6.6 and 6.7.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stop_token>
#include <thread>
#include <vector>

#include "src/transport/grpc/handshake.h"
#include "src/transport/grpc/testing/fixture.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::ElementsAre;
using testing::Into;

class GrpcStreamAsyncTest : public testing::GrpcConnectionTest {
 protected:
  CallOutcome<int64_t> Stream(Connection& connection, const CallRequest& request,
                              const ChunkCallback& on_chunk) {
    return OnIo<CallOutcome<int64_t>>([&](auto done) {
      connection.StreamAsync(request, on_chunk, [this, done](CallOutcome<int64_t> outcome) {
        EXPECT_EQ(std::this_thread::get_id(), io_thread_.get_id());
        done(std::move(outcome));
      });
    });
  }
};

TEST_F(GrpcStreamAsyncTest, ChunksComeInOrderOnTheIoThread) {
  Connection& connection = Connect();
  for (const bool in_session : {false, true}) {
    std::vector<Chunk> chunks;
    const Value three = Value::Map{{"n", 3}};
    CallRequest request = Request("count", three);
    if (in_session) request.session_id = "s";
    const auto outcome = Stream(connection, request, [&](const Chunk& chunk) {
      EXPECT_EQ(std::this_thread::get_id(), io_thread_.get_id());
      chunks.push_back(chunk);
      return true;
    });
    ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
    EXPECT_EQ(*outcome.result, 3);
    EXPECT_EQ(outcome.after, AfterCall::kUsable);
    ASSERT_EQ(chunks.size(), 3u);
    for (int64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(chunks[i].index, i);
      EXPECT_EQ(chunks[i].value, Value(Value::Map{{"n", i}}));
      EXPECT_EQ(chunks[i].final, i == 2);
    }
  }
  EXPECT_THAT(worker_.seen().sessions, ElementsAre("s"));
}

TEST_F(GrpcStreamAsyncTest, AStreamEndsAsItDoesOnAThread) {
  Connection& connection = Connect();
  const Value three = Value::Map{{"n", 3}};
  const Value separate = Value::Map{{"n", 2}, {"separate_end", true}};
  const Value failure = Value::Map{{"error", "no row 1"}, {"code", "HANDLER_FAILED"}};
  const std::vector<CallRequest> requests = {
      Request("count", three), Request("count", separate), Request("empty_end"),
      Request("nothing"),      Request("fail", failure),   Releasable("no_chunk"),
  };
  for (const CallRequest& request : requests) {
    std::vector<Chunk> expected, chunks;
    const auto on_thread = connection.Stream(request, Into(&expected));
    const auto outcome = Stream(connection, request, Into(&chunks));
    EXPECT_EQ(outcome.after, on_thread.after) << request.command;
    EXPECT_EQ(chunks.size(), expected.size()) << request.command;
    ASSERT_EQ(outcome.result.has_value(), on_thread.result.has_value()) << request.command;
    if (outcome.result) {
      EXPECT_EQ(*outcome.result, *on_thread.result);
    } else {
      EXPECT_EQ(outcome.result.error().ToString(), on_thread.result.error().ToString());
      EXPECT_EQ(outcome.result.error().may_have_run, on_thread.result.error().may_have_run);
    }
  }
  EXPECT_THAT(releases_.WaitFor(2), ElementsAre(AfterCall::kUsable, AfterCall::kUsable));
}

TEST_F(GrpcStreamAsyncTest, NoMoreIsReadThanItsCallbackTakes) {
  Connection& connection = Connect();
  int64_t chunks = 0;
  int64_t written = 0;
  const auto outcome = Stream(connection, Releasable("fill"), [&](const Chunk&) {
    if (++chunks < 500) return true;
    written = worker_.WaitUntilWritingStalls(milliseconds(300));
    return false;
  });
  EXPECT_EQ(chunks, 500);
  EXPECT_LE(written - chunks, 4) << "a window of HTTP/2, and the chunk that is being written";
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
  EXPECT_EQ(worker_.seen().running.size(), 0u);
}

TEST_F(GrpcStreamAsyncTest, ADeadlineEndsAStreamThatWaits) {
  Connection& connection = Connect();
  CallRequest request = Releasable("hold");
  request.deadline = steady_clock::now() + milliseconds(100);
  const auto outcome = Stream(connection, request, [](auto&) { return true; });
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
}

TEST_F(GrpcStreamAsyncTest, AStopEndsAStreamThatWaits) {
  Connection& connection = Connect();
  std::stop_source stop;
  CallRequest request = Releasable("hold");
  request.stop = stop.get_token();
  const std::jthread stopper = OnceBegun([&] { stop.request_stop(); });
  const auto outcome = Stream(connection, request, [](auto&) { return true; });
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
}

TEST_F(GrpcStreamAsyncTest, AStopBeforeItSendsNothing) {
  Connection& connection = Connect();
  std::stop_source stop;
  stop.request_stop();
  CallRequest request = Releasable("count");
  request.stop = stop.get_token();
  const auto outcome = Stream(connection, request, [](auto&) { return true; });
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kUnsent);
  EXPECT_EQ(worker_.seen().request_ids.size(), 0u);
}

TEST_F(GrpcStreamAsyncTest, AStreamThatIsRefusedAsBusyIsSentAgain) {
  Connection& connection = Connect();
  worker_.Refuse(3);
  const Value three = Value::Map{{"n", 3}};
  const auto outcome = Stream(connection, Request("count", three), [](auto&) { return true; });
  ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
  EXPECT_EQ(*outcome.result, 3);
}

TEST_F(GrpcStreamAsyncTest, AnAbortEndsAStreamThatWaits) {
  Connection& connection = Connect();
  std::jthread aborter = OnceBegun([&] { connection.Abort(); });
  const auto outcome = Stream(connection, Request("hold"), [](auto&) { return true; });
  aborter.join();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kWorkerLost);
  EXPECT_EQ(outcome.after, AfterCall::kLost);
  const auto next = Stream(connection, Request("count"), [](auto&) { return true; });
  EXPECT_EQ(next.after, AfterCall::kLost);
}

TEST_F(GrpcStreamAsyncTest, AWorkerThatDoesNotStreamGivesOneChunk) {
  worker_.info.clear_features();
  Connection& connection = Connect();
  std::vector<Chunk> chunks;
  const auto outcome = Stream(connection, Request("echo"), Into(&chunks));
  EXPECT_EQ(*outcome.result, 1);
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_TRUE(chunks[0].final);
}

TEST_F(GrpcStreamAsyncTest, ManyStreamsNeedNoThreadEach) {
  Connection& connection = Connect();
  constexpr int kStreams = 8;  // the capacity of the worker
  const Value args = Value::Map{{"n", 50}};
  std::promise<void> all;
  int left = kStreams;  // only used on the io thread
  asio::post(io_, [&] {
    for (int i = 0; i < kStreams; ++i) {
      connection.StreamAsync(
          Request("count", args), [](auto&) { return true; },
          [&](CallOutcome<int64_t> outcome) {
            EXPECT_TRUE(outcome.result && *outcome.result == 50);
            if (--left == 0) all.set_value();
          });
    }
  });
  all.get_future().get();
}

}  // namespace
}  // namespace snakepit
