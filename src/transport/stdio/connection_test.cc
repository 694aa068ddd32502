#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <future>
#include <map>
#include <random>
#include <string>
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

using StdioConnectionTest = StdioFixture;

// Ends of a pipe for a signal handler: it says that it runs, and runs until it is told to return.
int holds = -1;
int returns = -1;

void HoldThread(int) {
  char byte = 0;
  [[maybe_unused]] ssize_t ignored = write(holds, &byte, 1);
  ignored = read(returns, &byte, 1);
}

// However a test ends, the thread in the handler goes on, and the signal has its default again.
struct ReleaseAtEnd {
  ~ReleaseAtEnd() {
    signal(SIGUSR1, SIG_DFL);
    [[maybe_unused]] const ssize_t ignored = write(release.get(), "", 1);
  }
  const UniqueFd& release;
};

// --- Multiplexing -------------------------------------------------------------------------------

TEST_F(StdioConnectionTest, RepliesInAnyOrderReachTheirCalls) {
  Connect(8);
  std::vector<std::future<CallOutcome<Value>>> calls;
  std::vector<PoolMessage> requests;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(CallOnThread(Request("call")));
    requests.push_back(peer_->Read());
  }
  for (int i = 7; i >= 0; --i) {
    peer_->Result(requests[i].id, i);
    const CallOutcome<Value> outcome = calls[i].get();
    ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
    EXPECT_EQ(*outcome.result, Value(i));
    EXPECT_EQ(outcome.after, AfterCall::kUsable);
  }
}

TEST_F(StdioConnectionTest, AsynchronousAndBlockingCallsShareTheConnection) {
  Connect(1'000);
  constexpr int kCalls = 300;
  std::atomic<int> done = 0;
  std::atomic<int> wrong = 0;
  std::promise<void> all_done;
  for (int i = 0; i < kCalls; ++i) {
    asio::post(io_, [&, i] {
      // They live as long as the call.
      const auto args = std::make_shared<Value>(Value::Map{{"n", i}});
      CallRequest request = Request("async");
      request.args = args.get();
      connection_->CallAsync(request, [&, args](CallOutcome<Value> outcome) {
        if (!outcome.result || *outcome.result != *args) ++wrong;
        if (++done == kCalls) all_done.set_value();
      });
    });
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        const Value args = Value::Map{{"t", t}, {"i", i}};
        CallRequest request = Request("blocking");
        request.args = &args;
        const CallOutcome<Value> outcome = connection_->Call(request);
        if (!outcome.result || *outcome.result != args) ++wrong;
      }
    });
  }
  std::mt19937 random(1);
  std::vector<PoolMessage> requests;
  for (int left = 5 * kCalls; left > 0;) {
    // Replies by turns and out of order, as soon as there is nothing more to read.
    if (requests.empty() ||
        (left > static_cast<int>(requests.size()) && peer_->HasMessage(milliseconds(0)))) {
      requests.push_back(peer_->Read());
      ASSERT_EQ(requests.back().kind, Kind::kRequest);
      continue;
    }
    std::swap(requests.back(), requests[random() % requests.size()]);
    peer_->Result(requests.back().id, requests.back().args);
    requests.pop_back();
    --left;
  }
  for (std::thread& thread : threads) thread.join();
  all_done.get_future().get();
  EXPECT_EQ(wrong, 0);
}

TEST_F(StdioConnectionTest, AThreadThatHasItsReplyIsNotMadeTheReader) {
  Connect(3);
  const auto held = OpenPipe();
  const auto release = OpenPipe();
  holds = held->second.get();
  returns = release->first.get();
  signal(SIGUSR1, HoldThread);
  auto reader = CallOnThread(Request("reads"));
  const int64_t reader_id = peer_->Read().id;
  auto waiting = CallOnThread(Request("waits"));
  const int64_t waiting_id = peer_->Read().id;
  std::promise<pthread_t> thread;
  auto served = std::async(std::launch::async, [&] {
    thread.set_value(pthread_self());
    return connection_->Call(Request("waits last"));
  });
  const ReleaseAtEnd release_at_end{release->second};
  const int64_t served_id = peer_->Read().id;
  connection_->EndSession("s");  // takes the lock: the thread sleeps
  EXPECT_EQ(peer_->Read().kind, Kind::kEndSession);
  pthread_kill(thread.get_future().get(), SIGUSR1);
  char byte = 0;
  ASSERT_EQ(read(held->first.get(), &byte, 1), 1);
  // Its thread cannot wake to take its reply, nor to read.
  peer_->Result(served_id, 1);
  peer_->Result(reader_id, 2);
  EXPECT_EQ(*reader.get().result, Value(2));
  peer_->Result(waiting_id, 3);
  EXPECT_EQ(waiting.wait_for(seconds(10)), std::future_status::ready) << "nobody reads";
  ASSERT_EQ(write(release->second.get(), &byte, 1), 1);
  EXPECT_EQ(*waiting.get().result, Value(3));
  EXPECT_EQ(*served.get().result, Value(1));
}

TEST_F(StdioConnectionTest, LargeMessagesBothWaysAtOnceDoNotDeadlock) {
  Connect(4);
  const std::string text(4 << 20, 'x');
  const Value args = Value::Map{{"text", text}};
  std::vector<std::future<CallOutcome<Value>>> calls;
  for (int i = 0; i < 3; ++i) {
    CallRequest request = Request("echo");
    request.args = &args;
    calls.push_back(CallOnThread(request));
  }
  for (int i = 0; i < 3; ++i) {
    const PoolMessage request = peer_->Read();
    peer_->Result(request.id, request.args);  // while the next requests fill the other direction
  }
  for (auto& call : calls) {
    const CallOutcome<Value> outcome = call.get();
    ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
    EXPECT_EQ(*outcome.result, args);
  }
}

TEST_F(StdioConnectionTest, HealthIsAnsweredWhileACallIsInFlight) {
  Connect(1);
  auto call = CallOnThread(Request("slow"));
  const PoolMessage slow = peer_->Read();
  std::promise<Result<WorkerHealth>> health;
  asio::post(io_, [&] {
    connection_->CheckHealth(In(seconds(20)),
                             [&](auto result) { health.set_value(std::move(result)); });
  });
  const PoolMessage question = peer_->Read();
  EXPECT_EQ(question.kind, Kind::kHealth);
  peer_->Result(question.id, Value::Map{{"healthy", true},
                                        {"worker_id", "me"},
                                        {"uptime_ms", 5},
                                        {"total_requests", 3},
                                        {"total_errors", 1},
                                        {"calls_in_flight", 1},
                                        {"version", "7"}});
  const auto answer = health.get_future().get();
  ASSERT_TRUE(answer) << answer.error().ToString();
  EXPECT_TRUE(answer->healthy);
  EXPECT_EQ(answer->worker_id, "me");
  EXPECT_EQ(answer->total_requests, 3);
  EXPECT_EQ(answer->calls_in_flight, 1);
  peer_->Result(slow.id, 1);
  EXPECT_TRUE(call.get().result);
}

TEST_F(StdioConnectionTest, HealthThatIsNotAnsweredEndsAtItsDeadlineAndHarmsNothing) {
  Connect(1);
  std::promise<Result<WorkerHealth>> health;
  asio::post(io_, [&] {
    connection_->CheckHealth(In(milliseconds(20)),
                             [&](auto result) { health.set_value(std::move(result)); });
  });
  const PoolMessage question = peer_->Read();
  const auto answer = health.get_future().get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kDeadlineExceeded);
  auto call = CallOnThread(Request("next"));
  const PoolMessage next = peer_->Read();
  EXPECT_EQ(next.kind, Kind::kRequest) << "there is nothing to cancel";
  peer_->Result(question.id, Value::Map{{"healthy", true}});  // late
  peer_->Result(next.id, 1);
  EXPECT_TRUE(call.get().result);
}

TEST_F(StdioConnectionTest, AWorkerWhoseCallsGoOnIsBusyAndNotHung) {
  Connect(1);
  auto call = CallOnThread(Request("slow"));
  const PoolMessage slow = peer_->Read();
  std::promise<Result<WorkerHealth>> health;
  asio::post(io_, [&] {
    connection_->CheckHealth(In(seconds(1)),
                             [&](auto result) { health.set_value(std::move(result)); });
  });
  EXPECT_EQ(peer_->Read().kind, Kind::kHealth);
  peer_->Result(slow.id, 1);
  EXPECT_TRUE(call.get().result);
  EXPECT_EQ(health.get_future().get().error().code, ErrorCode::kUnavailable);
}

TEST_F(StdioConnectionTest, AWorkerOfVersion1HasNoHealth) {
  Connect(0);
  std::promise<Result<WorkerHealth>> health;
  asio::post(io_, [&] {
    connection_->CheckHealth(In(seconds(20)),
                             [&](auto result) { health.set_value(std::move(result)); });
  });
  EXPECT_EQ(health.get_future().get().error().code, ErrorCode::kUnimplemented);
}

TEST_F(StdioConnectionTest, AnIdleWorkerOfVersion1IsAskedByPing) {
  Connect(0);
  for (const bool fails : {false, true}) {
    std::promise<Result<WorkerHealth>> answered;
    asio::post(io_, [&] {
      connection_->CheckIdle(In(seconds(20)), [&](Result<WorkerHealth> health) {
        answered.set_value(std::move(health));
      });
    });
    const PoolMessage ping = peer_->Read();
    EXPECT_EQ(ping.command, "ping");
    if (fails) {
      peer_->Failure(ping.id, ErrorCode::kHandlerFailed);
    } else {
      peer_->Result(ping.id, Value::Map{{"status", "ok"}});
    }
    const auto health = answered.get_future().get();
    ASSERT_TRUE(health) << health.error().ToString();
    EXPECT_TRUE(health->healthy) << "it answers";
  }
}

TEST_F(StdioConnectionTest, TheEndOfASessionIsSent) {
  Connect(1);
  connection_->EndSession("s1");
  auto call = CallOnThread(Request("call"));
  const PoolMessage message = peer_->Read();
  EXPECT_EQ(message.kind, Kind::kEndSession);
  EXPECT_EQ(message.session_id, "s1");
  const PoolMessage next = peer_->Read();
  EXPECT_EQ(next.command, "call") << "it comes after the end";
  peer_->Result(next.id, 1);
  EXPECT_TRUE(call.get().result);
}

TEST_F(StdioConnectionTest, AWorkerWithoutSessionsIsNotToldOfTheirEnd) {
  Connect(0);
  connection_->EndSession("s1");
  auto call = CallOnThread(Request("call"));
  const PoolMessage message = peer_->Read();
  EXPECT_EQ(message.command, "call");
  peer_->Result(message.id, 1);
  EXPECT_TRUE(call.get().result);
}

// --- Loss and nonsense --------------------------------------------------------------------------

TEST_F(StdioConnectionTest, AllCallsAreLostWithTheConnection) {
  Connect(3);
  std::vector<std::future<CallOutcome<Value>>> calls;
  for (int i = 0; i < 3; ++i) {
    calls.push_back(CallOnThread(Request("call")));
    peer_->Read();
  }
  peer_->Close();
  for (auto& call : calls) {
    const CallOutcome<Value> outcome = call.get();
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kWorkerLost);
    EXPECT_TRUE(outcome.result.error().may_have_run);
    EXPECT_EQ(outcome.after, AfterCall::kLost);
  }
  const CallOutcome<Value> next = connection_->Call(Request("next"));
  EXPECT_EQ(next.after, AfterCall::kLost);
  EXPECT_FALSE(next.result.error().may_have_run);
}

TEST_F(StdioConnectionTest, WhatCannotBeDecodedIsTheErrorOfTheOneCallInFlight) {
  Connect(4);
  auto call = CallOnThread(Request("call"));
  peer_->Read();
  peer_->Send(std::string("\0\0\0\1\xc1", 5));
  const CallOutcome<Value> outcome = call.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
  auto next = CallOnThread(Request("next"));
  peer_->Result(peer_->Read().id, 1);
  EXPECT_TRUE(next.get().result);
}

TEST_F(StdioConnectionTest, WhatCannotBeDecodedIsTheErrorOfAllOfSeveralCalls) {
  Connect(4);
  auto one = CallOnThread(Request("one"));
  peer_->Read();
  auto two = CallOnThread(Request("two"));
  peer_->Read();
  peer_->Send(std::string("\0\0\0\1\xc1", 5));
  for (auto* call : {&one, &two}) {
    const CallOutcome<Value> outcome = call->get();
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
    EXPECT_TRUE(outcome.result.error().may_have_run);
    EXPECT_EQ(outcome.after, AfterCall::kUnusable);
  }
}

TEST_F(StdioConnectionTest, AReplyToACallThatWasNotMadeIsAProtocolError) {
  Connect(1);
  auto call = CallOnThread(Request("call"));
  peer_->Result(peer_->Read().id + 1, 1);
  const CallOutcome<Value> outcome = call.get();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_EQ(outcome.after, AfterCall::kUnusable);
}

TEST_F(StdioConnectionTest, AWorkerThatDoesNotReadIsNotWaitedForPastTheDeadline) {
  Connect(2);
  const Value args = Value::Map{{"text", std::string(4 << 20, 'x')}};
  CallRequest request = Request("large", In(milliseconds(50)));
  request.args = &args;
  request.released = nullptr;
  auto one = CallOnThread(request);
  auto two = CallOnThread(request);
  std::map<ErrorCode, int> codes;
  for (auto* call : {&one, &two}) ++codes[call->get().result.error().code];
  EXPECT_EQ(codes[ErrorCode::kDeadlineExceeded], 2);
}

TEST_F(StdioConnectionTest, AWorkerThatNeverStopsSendingDoesNotHoldTheThreadUp) {
  Connect(2, milliseconds(50));
  auto stream = StreamOnThread(Request("flood"), [](const Chunk&) { return false; });
  const int64_t id = peer_->Read().id;
  std::string block;
  // Quicker to send than to decode.
  const Value chunk = Value::Array(3'000, Value(Value::Map{}));
  for (int i = 0; i < 10; ++i) {
    std::string frame;
    size_t bytes = 0;
    ASSERT_TRUE(EncodeChunkFrame(peer_->agreement.codec, id, i, false, &chunk, kMaxTestFrameBytes,
                                 &frame, &bytes));
    block += frame;
  }
  std::atomic<bool> stop = false;
  std::thread flood([&] {
    while (!stop) peer_->Send(block);
  });
  EXPECT_EQ(stream.get().after, AfterCall::kAbandoned);
  auto released = released_.get_future();
  EXPECT_EQ(released.wait_for(seconds(5)), std::future_status::ready);
  std::promise<void> ran;
  asio::post(io_, [&ran] { ran.set_value(); });
  auto there = ran.get_future();
  EXPECT_EQ(there.wait_for(seconds(5)), std::future_status::ready);
  stop = true;
  connection_->Abort();
  flood.join();
  there.wait();
}

// The callback stands in for whatever finds no memory on the way.
TEST_F(StdioConnectionTest, ACallThatThrowsLeavesTheOthersAlone) {
  Connect(3);
  auto stream = StreamOnThread(Request("stream"), [](const Chunk&) -> bool { throw 1; });
  const int64_t id = peer_->Read().id;
  auto other = CallOnThread(Request("other"));
  const int64_t other_id = peer_->Read().id;
  peer_->Chunk(id, 0, false, 1);
  EXPECT_ANY_THROW(stream.get());
  peer_->Chunk(id, 1, false, 2);
  peer_->EndOfStream(id, 2);
  peer_->Result(other_id, 3);
  EXPECT_TRUE(other.get().result);
}

}  // namespace
}  // namespace snakepit
