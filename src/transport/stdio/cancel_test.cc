// Calls on stdio that are given up. PROTOCOL.md 6.6.
#include <gtest/gtest.h>
#include <poll.h>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <future>
#include <random>
#include <thread>
#include <vector>

#include "src/transport/stdio/testing/fixture.h"
#include "src/wire/frame.h"
#include "src/wire/worker_side/handshake.h"
#include "src/wire/worker_side/message.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = PoolMessage::Kind;

using StdioCancelTest = StdioFixture;

TEST_F(StdioCancelTest, AStopEndsTheCallAtOnceAndTheWorkerIsTold) {
  Connect(1);
  std::stop_source source;
  CallRequest request = Request("slow");
  request.stop = source.get_token();
  auto call = CallOnThread(request);
  const PoolMessage sent = peer_->Read();
  source.request_stop();
  const CallOutcome<Value> outcome = call.get();
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  const PoolMessage cancel = peer_->Read();
  EXPECT_EQ(cancel.kind, Kind::kCancel);
  EXPECT_EQ(cancel.id, sent.id);
  peer_->Failure(sent.id, ErrorCode::kCancelled);
  EXPECT_EQ(Released(), AfterCall::kUsable);
}

TEST_F(StdioCancelTest, AStopBeforeTheCallSendsNothing) {
  Connect(1);
  std::stop_source source;
  source.request_stop();
  CallRequest request = Request("slow");
  request.stop = source.get_token();
  const CallOutcome<Value> outcome = connection_->Call(request);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kUnsent);
  EXPECT_FALSE(peer_->HasMessage(milliseconds(0)));
}

TEST_F(StdioCancelTest, AnAsynchronousCallIsStopped) {
  Connect(1);
  std::stop_source source;
  CallRequest request = Request("slow");
  request.stop = source.get_token();
  std::promise<CallOutcome<Value>> done;
  asio::post(io_, [&] {
    connection_->CallAsync(request, [&](auto outcome) { done.set_value(std::move(outcome)); });
  });
  const PoolMessage sent = peer_->Read();
  source.request_stop();
  const CallOutcome<Value> outcome = done.get_future().get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_EQ(peer_->Read().kind, Kind::kCancel);
  peer_->Result(sent.id, 1);
  EXPECT_EQ(Released(), AfterCall::kUsable);
}

TEST_F(StdioCancelTest, AStopEndsAStreamThatAlwaysHasMore) {
  Connect(1);
  std::stop_source source;
  CallRequest request = Request("stream");
  request.stop = source.get_token();
  std::promise<void> three;
  auto stream = StreamOnThread(request, [&](const Chunk& chunk) {
    if (chunk.index == 2) three.set_value();
    return true;
  });
  const PoolMessage sent = peer_->Read();
  std::thread producer([&] {
    for (int64_t i = 0; !peer_->HasMessage(milliseconds(0)); ++i) {
      peer_->Chunk(sent.id, i, false, Value());
    }
  });
  three.get_future().get();
  source.request_stop();
  EXPECT_EQ(stream.get().result.error().code, ErrorCode::kCancelled);
  producer.join();
  EXPECT_EQ(peer_->Read().kind, Kind::kCancel);
  peer_->Failure(sent.id, ErrorCode::kCancelled, 0);
  EXPECT_EQ(Released(), AfterCall::kUsable);
}

TEST_F(StdioCancelTest, ADeadlineThatPassesCancelsToo) {
  Connect(1);
  auto call = CallOnThread(Request("slow", In(milliseconds(20))));
  const PoolMessage sent = peer_->Read();
  EXPECT_GT(sent.timeout_ms, 0);
  const CallOutcome<Value> outcome = call.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_EQ(peer_->Read().kind, Kind::kCancel);
  peer_->Result(sent.id, "late");
  EXPECT_EQ(Released(), AfterCall::kUsable);
  auto next = CallOnThread(Request("next"));
  peer_->Result(peer_->Read().id, "mine");
  EXPECT_EQ(*next.get().result, Value("mine"));
}

TEST_F(StdioCancelTest, AWorkerThatIgnoresTheCancellationIsGivenUpAfterTheGrace) {
  Connect(1, milliseconds(30));
  auto call = CallOnThread(Request("slow", In(milliseconds(10))));
  peer_->Read();
  EXPECT_EQ(call.get().after, AfterCall::kAbandoned);
  EXPECT_EQ(Released(), AfterCall::kOverran);
}

TEST_F(StdioCancelTest, AWorkerOfVersion1IsWaitedForWithoutAMessage) {
  Connect(0);
  auto call = CallOnThread(Request("slow", In(milliseconds(10))));
  const PoolMessage sent = peer_->Read();
  EXPECT_EQ(call.get().after, AfterCall::kAbandoned);
  EXPECT_FALSE(peer_->HasMessage(milliseconds(10)));
  peer_->Result(sent.id, 1);
  EXPECT_EQ(Released(), AfterCall::kUsable);
}

TEST_F(StdioCancelTest, AnAbandonedCallIsLostWithTheConnection) {
  Connect(1);
  auto call = CallOnThread(Request("slow", In(milliseconds(10))));
  peer_->Read();
  EXPECT_EQ(call.get().after, AfterCall::kAbandoned);
  connection_->Abort();
  EXPECT_EQ(Released(), AfterCall::kLost);
}

TEST_F(StdioCancelTest, AStopThatRacesTheReplyGivesOneOutcomeAndOneRelease) {
  Connect(4);
  constexpr int kCalls = 10'000;
  std::thread worker([this] {
    for (;;) {
      const PoolMessage message = peer_->Read();
      if (message.kind == Kind::kUnknown) return;
      // A worker that is always quicker than the cancellation, or always through with the call.
      if (message.kind == Kind::kRequest) peer_->Result(message.id, message.id);
    }
  });
  std::atomic<int> results = 0, cancelled = 0, abandoned = 0, released = 0;
  std::promise<void> all_released;
  std::atomic<bool> ended = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < kCalls / 2; ++i) {
        std::stop_source source;
        std::promise<void> begin;
        CallRequest request{.command = "race",
                            .deadline = In(seconds(20)),
                            .stop = source.get_token(),
                            .released = [&](AfterCall after) {
                              EXPECT_EQ(after, AfterCall::kUsable);
                              ++released;
                              if (ended && released == abandoned) all_released.set_value();
                            }};
        std::thread stopper([&source, &begin, spins = random() % 3000] {
          begin.get_future().get();
          for (std::atomic<unsigned> s = 0; s < spins; ++s) {
          }
          source.request_stop();
        });
        begin.set_value();
        const CallOutcome<Value> outcome = connection_->Call(request);
        if (outcome.after == AfterCall::kAbandoned) ++abandoned;
        if (outcome.result) {
          ++results;
          EXPECT_EQ(outcome.after, AfterCall::kUsable);
        } else {
          EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
          ++cancelled;
        }
        stopper.join();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  asio::post(io_, [&] {
    ended = true;
    if (released == abandoned) all_released.set_value();
  });
  all_released.get_future().get();
  EXPECT_EQ(results + cancelled, kCalls);
  EXPECT_EQ(released, abandoned);
  EXPECT_GT(results, 0);
  EXPECT_GT(abandoned, 0);
  // And the connection is as good as new.
  EXPECT_TRUE(connection_->Call(Request("last")).result);
  peer_->Close();
  worker.join();
}

}  // namespace
}  // namespace snakepit
