// Calls over gRPC that are given up, and what becomes of them. PROTOCOL.md 6.6 and 6.11.6.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <iostream>
#include <random>
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
using ::testing::HasSubstr;
using testing::Releases;
using GrpcCancelTest = testing::GrpcConnectionTest;

TEST_F(GrpcCancelTest, AStopEndsACallAtOnceAndTheWorkersEndOfItIsAwaited) {
  Connection& connection = Connect();
  std::stop_source stop;
  CallRequest request = Releasable("ignore");
  request.stop = stop.get_token();
  const std::jthread stopper = OnceBegun([&] { stop.request_stop(); });
  const auto outcome = connection.Call(request);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  // The worker is asked again and again, and is busy; other calls go on beside.
  ASSERT_TRUE(worker_.WaitForCount("Health", 5));
  EXPECT_TRUE(connection.Call(Request("echo")).result);
  EXPECT_EQ(releases_.count(), 0u);
  worker_.Release();
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
  EXPECT_THAT(releases_.threads(), ElementsAre(io_thread_.get_id()));
  EXPECT_EQ(worker_.seen().running.size(), 0u);
}

TEST_F(GrpcCancelTest, AStopBeforeTheCallSendsNothing) {
  Connection& connection = Connect();
  std::stop_source stop;
  stop.request_stop();
  CallRequest request = Releasable("echo");
  request.stop = stop.get_token();
  for (const auto& outcome : {connection.Call(request), CallAsync(connection, request)}) {
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
    EXPECT_FALSE(outcome.result.error().may_have_run);
    EXPECT_EQ(outcome.after, AfterCall::kUnsent);
  }
  const auto stream = connection.Stream(request, [](auto&) { return true; });
  EXPECT_EQ(stream.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(stream.after, AfterCall::kUnsent);
  EXPECT_EQ(worker_.seen().request_ids.size(), 0u);
  EXPECT_EQ(releases_.count(), 0u);
}

TEST_F(GrpcCancelTest, AStopAfterTheCallChangesNothing) {
  Connection& connection = Connect();
  std::stop_source stop;
  CallRequest request = Releasable("echo");
  request.stop = stop.get_token();
  EXPECT_TRUE(connection.Call(request).result);
  EXPECT_TRUE(CallAsync(connection, request).result);
  stop.request_stop();
  EXPECT_TRUE(connection.Call(Request("echo")).result);
  EXPECT_EQ(releases_.count(), 0u);
}

TEST_F(GrpcCancelTest, APassedDeadlineIsGivenUpLikewise) {
  Connection& connection = Connect();
  CallRequest request = Releasable("hold");
  request.deadline = steady_clock::now() + milliseconds(50);
  const auto outcome = connection.Call(request);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(outcome.result.error().message, HasSubstr("\"hold\""));
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
  EXPECT_EQ(worker_.seen().running.size(), 0u);
}

TEST_F(GrpcCancelTest, AnAsynchronousCallIsGivenUpLikewise) {
  Connection& connection = Connect();
  std::stop_source stop;
  CallRequest request = Releasable("hold");
  request.stop = stop.get_token();
  const std::jthread stopper = OnceBegun([&] { stop.request_stop(); });
  auto outcome = CallAsync(connection, request);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));

  CallRequest late = Releasable("hold");
  late.deadline = steady_clock::now() + milliseconds(50);
  outcome = CallAsync(connection, late);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_EQ(releases_.WaitFor(2).size(), 2u);
}

TEST_F(GrpcCancelTest, AStreamIsGivenUpByItsCallback) {
  Connection& connection = Connect();
  int calls = 0;
  const auto outcome = connection.Stream(Releasable("count"), [&](auto&) { return ++calls < 3; });
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
  EXPECT_EQ(worker_.seen().running.size(), 0u);
}

TEST_F(GrpcCancelTest, AStreamThatIsGivenUpAtItsLastChunkHasEnded) {
  Connection& connection = Connect();
  const Value one = Value::Map{{"n", 1}};
  const auto outcome = connection.Stream(Releasable("count", one), [](auto&) { return false; });
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
  EXPECT_EQ(releases_.count(), 0u);
}

TEST_F(GrpcCancelTest, AStreamIsGivenUpByAStop) {
  Connection& connection = Connect();
  for (const char* command : {"hold", "count"}) {  // waiting for a chunk, and with chunks coming
    std::stop_source stop;
    CallRequest request = Releasable(command);
    request.stop = stop.get_token();
    int after_stop = 0;
    std::thread stopper;
    const auto outcome = connection.Stream(request, [&](const Chunk&) {
      if (stop.stop_requested()) ++after_stop;
      if (std::string_view(command) == "count") {
        stop.request_stop();
      } else {
        stopper = std::thread([&] { stop.request_stop(); });
      }
      return true;
    });
    if (stopper.joinable()) stopper.join();
    EXPECT_EQ(after_stop, 0);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  }
  EXPECT_THAT(releases_.WaitFor(2), ElementsAre(AfterCall::kUsable, AfterCall::kUsable));
}

TEST_F(GrpcCancelTest, AWorkerThatGoesOnBeyondTheGraceIsUnusable) {
  peer_.cancel_grace = milliseconds(300);
  Connection& connection = Connect();
  CallRequest request = Releasable("ignore");
  request.deadline = steady_clock::now() + milliseconds(50);
  ASSERT_EQ(connection.Call(request).after, AfterCall::kAbandoned);
  const auto abandoned = steady_clock::now();
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kOverran));
  EXPECT_GE(steady_clock::now() - abandoned, milliseconds(290));
  EXPECT_EQ(worker_.seen().running.size(), 1u);
  EXPECT_TRUE(connection.Call(Request("echo")).result);
}

TEST_F(GrpcCancelTest, AWorkerWhoseHealthIsSilentBeyondTheGraceIsUnusable) {
  peer_.cancel_grace = milliseconds(300);
  Connection& connection = Connect();
  worker_.Hold("Health", true);
  CallRequest request = Releasable("hold");
  request.deadline = steady_clock::now() + milliseconds(50);
  ASSERT_EQ(connection.Call(request).after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kOverran));
}

TEST_F(GrpcCancelTest, AWorkerThatSaysThatItIsBusyIsAskedOn) {
  Connection& connection = Connect();
  for (const auto code : {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::RESOURCE_EXHAUSTED}) {
    worker_.SetHealthStatus({code, "one at a time"});
    Releases releases;
    CallRequest request = Request("hold");
    request.released = releases.sink();
    request.deadline = steady_clock::now() + milliseconds(50);
    const int asked = worker_.seen().Count("Health");
    ASSERT_EQ(connection.Call(request).after, AfterCall::kAbandoned);
    ASSERT_TRUE(worker_.WaitForCount("Health", asked + 3));
    EXPECT_EQ(releases.count(), 0u);
    worker_.SetHealthStatus(grpc::Status::OK);
    EXPECT_THAT(releases.WaitFor(1), ElementsAre(AfterCall::kUsable));
  }
}

TEST_F(GrpcCancelTest, AnAnswerFromBeforeTheCallDoesNotCount) {
  Connection& connection = Connect();
  // The first is given up, and Health is asked for it: the answer, without the second, is held.
  worker_.Hold("Health", true);
  CallRequest first = Releasable("hold");
  first.deadline = steady_clock::now() + milliseconds(50);
  ASSERT_EQ(connection.Call(first).after, AfterCall::kAbandoned);
  ASSERT_TRUE(worker_.WaitForCount("Health", 2));
  ASSERT_TRUE(worker_.WaitForRunning(0));
  Releases second_releases;
  CallRequest second = Request("ignore");
  second.deadline = steady_clock::now() + milliseconds(50);
  second.released = second_releases.sink();
  ASSERT_EQ(connection.Call(second).after, AfterCall::kAbandoned);
  ASSERT_TRUE(worker_.WaitForRunning(1));
  OnIo<bool>([](auto done) { done(true); });  // the second is with those that are asked for
  worker_.Hold("Health", false);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
  ASSERT_TRUE(worker_.WaitForCount("Health", 5));
  EXPECT_EQ(second_releases.count(), 0u);
  worker_.Release();
  EXPECT_THAT(second_releases.WaitFor(1), ElementsAre(AfterCall::kUsable));
}

TEST_F(GrpcCancelTest, SeveralThatAreGivenUpAreReleasedEachInItsTime) {
  Connection& connection = Connect();
  Releases ignored;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      CallRequest request = i % 2 == 0 ? Releasable("hold") : Request("ignore");
      if (i % 2 == 1) request.released = ignored.sink();
      request.deadline = steady_clock::now() + milliseconds(100);
      EXPECT_EQ(connection.Call(request).after, AfterCall::kAbandoned);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(releases_.WaitFor(3), std::vector(3, AfterCall::kUsable));
  worker_.Release();
  EXPECT_EQ(ignored.WaitFor(3), std::vector(3, AfterCall::kUsable));
}

TEST_F(GrpcCancelTest, AWorkerThatGoesIsLostToWhatWasGivenUp) {
  Connection& connection = Connect();
  CallRequest request = Releasable("ignore");
  request.deadline = steady_clock::now() + milliseconds(50);
  ASSERT_EQ(connection.Call(request).after, AfterCall::kAbandoned);
  worker_.Hold("Health", true);  // else it might say that the call has ended, as it does
  worker_.Stop();
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kLost));
}

TEST_F(GrpcCancelTest, AnAbortIsALossToWhatWasGivenUp) {
  Connection& connection = Connect();
  CallRequest request = Releasable("ignore");
  request.deadline = steady_clock::now() + milliseconds(50);
  ASSERT_EQ(connection.Call(request).after, AfterCall::kAbandoned);
  ASSERT_TRUE(worker_.WaitForCount("Health", 3));
  connection.Abort();
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kLost));
}

TEST_F(GrpcCancelTest, AnAbortEndsWhatIsInProgress) {
  Connection& connection = Connect();
  std::stop_source never;
  CallRequest request = Releasable("ignore");
  request.stop = never.get_token();
  std::jthread aborter = OnceBegun([&] { connection.Abort(); });
  auto outcome = connection.Call(request);
  aborter.join();
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kWorkerLost);
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kLost);
  for (const auto& next :
       {connection.Call(Request("echo")), CallAsync(connection, Request("echo"))}) {
    EXPECT_EQ(next.after, AfterCall::kLost);
    EXPECT_FALSE(next.result.error().may_have_run);
  }
  EXPECT_EQ(releases_.count(), 0u);
}

TEST_F(GrpcCancelTest, WhatWasGivenUpIsReleasedWithoutTheConnection) {
  CallRequest request = Releasable("ignore");
  request.deadline = steady_clock::now() + milliseconds(50);
  ASSERT_EQ(Connect().Call(request).after, AfterCall::kAbandoned);
  connection_.reset();
  work_.reset();  // and the io_context waits for it, too
  worker_.Release();
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
}

TEST_F(GrpcCancelTest, AStopThatRacesTheResultGivesOneOutcome) {
  Connection& connection = Connect();
  std::mt19937 random(1);
  std::uniform_int_distribution<int> wait(0, 600);
  size_t abandoned = 0, succeeded = 0;
  std::atomic<int> waits{-1};
  std::stop_source stop;
  std::atomic<bool> stopped = false, ends = false;
  // A thread that is there already, so that it is quick.
  std::thread stopper([&] {
    while (!ends) {
      const int wait_us = waits.exchange(-1);
      if (wait_us < 0) {
        std::this_thread::yield();
        continue;
      }
      const auto until = steady_clock::now() + std::chrono::microseconds(wait_us);
      while (steady_clock::now() < until) {
      }
      stop.request_stop();
      stopped = true;
      stopped.notify_all();
    }
  });
  const Value three = Value::Map{{"n", 3}};
  for (int i = 0; i < 300; ++i) {
    stop = std::stop_source();
    stopped = false;
    CallRequest request = i % 3 == 2 ? Releasable("count", three) : Releasable("echo", three);
    request.stop = stop.get_token();
    waits = wait(random);
    Result<void> result;
    AfterCall after;
    const auto take = [&](auto outcome) {
      after = outcome.after;
      if (!outcome.result) result = Fail(std::move(outcome.result.error()));
    };
    if (i % 3 == 0) take(connection.Call(request));
    if (i % 3 == 1) take(CallAsync(connection, request));
    if (i % 3 == 2) take(connection.Stream(request, [](auto&) { return true; }));
    stopped.wait(false);
    if (result) {
      EXPECT_EQ(after, AfterCall::kUsable);
      ++succeeded;
    } else {
      EXPECT_EQ(result.error().code, ErrorCode::kCancelled) << result.error().ToString();
      EXPECT_EQ(after, result.error().may_have_run ? AfterCall::kAbandoned : AfterCall::kUnsent);
      if (after == AfterCall::kAbandoned) ++abandoned;
    }
  }
  ends = true;
  stopper.join();
  std::cout << succeeded << " succeeded, " << abandoned << " abandoned\n";
  EXPECT_GT(succeeded, 0u);
  EXPECT_GT(abandoned, 0u);
  EXPECT_EQ(releases_.WaitFor(abandoned), std::vector(abandoned, AfterCall::kUsable));
  // Nothing more comes after the end of the io_context.
  connection_.reset();
  work_.reset();
  io_thread_.join();
  io_thread_ = std::thread([] {});
  EXPECT_EQ(releases_.count(), abandoned);
}

}  // namespace
}  // namespace snakepit
