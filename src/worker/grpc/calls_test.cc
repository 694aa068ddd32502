// Calls in flight over gRPC: cancellation, deadlines, health and sessions.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "src/worker/grpc/testing/fixture.h"

namespace snakepit {
namespace {

using ::testing::ElementsAre;
using testing::kLimit;
using testing::Typed;
using testing::Untyped;
using GrpcCallTest = testing::GrpcServerTest;

TEST_F(GrpcCallTest, ACallIsCancelledWhileItRuns) {
  Create();
  Serve();
  grpc::ClientContext context;
  // The deadline is so far off that the calls below would fail first.
  context.set_deadline(std::chrono::system_clock::now() + 10 * kLimit);
  ExecuteRequest request;
  request.set_command("wait");
  request.set_request_id("the one");
  ExecuteResponse response;
  auto status =
      std::async(std::launch::async, [&] { return stub_->Execute(&context, request, &response); });
  AwaitAtLeast(begun_, 1);
  EXPECT_THAT(Health().active_request_ids(), ElementsAre("the one"));
  context.TryCancel();
  EXPECT_EQ(status.get().error_code(), grpc::StatusCode::CANCELLED);
  // The handler is free for the next.
  EXPECT_TRUE(Execute("echo").success());
  EXPECT_TRUE(Health().active_request_ids().empty());
}

TEST_F(GrpcCallTest, AHandlerThatIgnoresItsCancellationIsListedUntilItEnds) {
  Create();
  Serve();
  grpc::ClientContext context;
  SetUp(&context);
  ExecuteRequest request;
  request.set_command("gate");
  request.set_request_id("deaf");
  ExecuteResponse response;
  auto status =
      std::async(std::launch::async, [&] { return stub_->Execute(&context, request, &response); });
  AwaitAtLeast(begun_, 1);
  context.TryCancel();
  EXPECT_EQ(status.get().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_THAT(Health().active_request_ids(), ElementsAre("deaf"));
  gate_.release();
  EXPECT_TRUE(Execute("echo").success());
  EXPECT_TRUE(Health().active_request_ids().empty());
}

TEST_F(GrpcCallTest, ACallThatIsCancelledBeforeItsTurnIsNotBegun) {
  Create(1);
  Serve();
  grpc::ClientContext first, second;
  SetUp(&first);
  SetUp(&second);
  ExecuteRequest request;
  request.set_command("gate");
  ExecuteResponse first_response, second_response;
  auto running = std::async(std::launch::async,
                            [&] { return stub_->Execute(&first, request, &first_response); });
  AwaitAtLeast(begun_, 1);
  auto waiting = std::async(std::launch::async,
                            [&] { return stub_->Execute(&second, request, &second_response); });
  // It is there when a call that came later has an answer.
  second.TryCancel();
  EXPECT_EQ(waiting.get().error_code(), grpc::StatusCode::CANCELLED);
  Health();
  gate_.release();
  EXPECT_TRUE(running.get().ok());
  EXPECT_TRUE(Execute("echo").success());
  EXPECT_EQ(begun_, 1);
}

TEST_F(GrpcCallTest, AHandlerSeesTheEarlierOfTwoDeadlines) {
  Create();
  commands_->registry.Add("left", [](const Call& call) { return call.time_left()->count(); });
  Serve();
  EXPECT_LE(Untyped(Execute("left").typed_result()).Get<int64_t>().value(), 21'000);
  ExecuteRequest request;
  request.set_command("left");
  request.set_typed_args(Typed(Value::Map{}));
  request.set_timeout_ms(10'000);
  EXPECT_LE(Untyped(Execute(request).typed_result()).Get<int64_t>().value(), 10'000);
  request.set_timeout_ms(20);
  request.set_command("wait");
  EXPECT_EQ(Execute(request).code(), "DEADLINE_EXCEEDED");
  request.set_timeout_ms(-1);
  const ExecuteResponse late = Execute(request);
  EXPECT_EQ(late.code(), "DEADLINE_EXCEEDED");
  EXPECT_TRUE(late.did_not_run());
  EXPECT_EQ(begun_, 1);
}

TEST_F(GrpcCallTest, HealthSaysWhetherTheWorkerCanTakeCalls) {
  Create();
  Serve();
  EXPECT_TRUE(Health().healthy());
  commands_->set_healthy(false);
  EXPECT_FALSE(Health().healthy());
  commands_->set_healthy(true);
  EXPECT_TRUE(Health().healthy());
}

TEST_F(GrpcCallTest, HealthAndInfoAreAnsweredWhileAllHandlersAreBusy) {
  constexpr int kCalls = 40;
  Create(kCalls);
  Serve();
  ExecuteRequest request;
  request.set_command("gate");
  std::vector<std::future<ExecuteResponse>> calls;
  for (int i = 0; i < kCalls; ++i) {
    request.set_request_id(std::to_string(i));
    request.set_typed_args(Typed(Value::Map{{"i", i}}));
    calls.push_back(std::async(std::launch::async, [this, request] { return Execute(request); }));
  }
  AwaitAtLeast(begun_, kCalls);
  EXPECT_TRUE(Health().healthy());
  EXPECT_EQ(Health().active_request_ids_size(), kCalls);
  EXPECT_EQ(GetInfo({}).worker_type(), "test");
  gate_.release(kCalls);
  for (int i = 0; i < kCalls; ++i) {
    EXPECT_EQ(Untyped(calls[i].get().typed_result()), Value(Value::Map{{"i", i}}));
  }
}

TEST_F(GrpcCallTest, ASessionKeepsItsStateUntilItsEnd) {
  Create();
  commands_->registry.Add("count", [](const Call& call) {
    Value now;
    call.UseSession([&](Value& state) { now = state = state.Get<int64_t>().value_or(0) + 1; });
    return now;
  });
  Serve();
  SessionRequest request;
  request.set_session_id("s");
  request.set_command("count");
  request.set_typed_args(Typed(Value::Map{}));
  EXPECT_EQ(Untyped(ExecuteInSession(request).typed_result()), Value(1));
  EXPECT_EQ(Untyped(ExecuteInSession(request).typed_result()), Value(2));
  SessionRequest end;
  end.set_session_id("s");
  end.set_end_session(true);
  EXPECT_TRUE(ExecuteInSession(end).success());
  EXPECT_EQ(Untyped(ExecuteInSession(request).typed_result()), Value(1));
  request.clear_session_id();
  EXPECT_EQ(ExecuteInSession(request).code(), "INVALID_ARGUMENT");
}

TEST_F(GrpcCallTest, CallsInProgressEndAfterTerminate) {
  Create();
  Serve();
  auto running = std::async(std::launch::async, [this] { return Execute("gate"); });
  AwaitAtLeast(begun_, 1);
  server_->Terminate();
  gate_.release();
  EXPECT_TRUE(running.get().success());
}

// PROTOCOL.md 1.4.8.
TEST_F(GrpcCallTest, CallsThatComeAfterTerminateAreRefusedByName) {
  Create(2);
  Serve();
  auto running = std::async(std::launch::async, [this] { return Execute("gate"); });
  AwaitAtLeast(begun_, 1);
  server_->Terminate();
  ExecuteResponse response;
  ASSERT_TRUE(testing::Await(
      [&] {
        response = Execute("echo");
        return !response.success();
      },
      kLimit));
  EXPECT_EQ(response.code(), "CANCELLED");
  EXPECT_TRUE(response.did_not_run());
  EXPECT_TRUE(Health().healthy()) << "it takes other RPCs as before";
  gate_.release();
  EXPECT_TRUE(running.get().success());
}

}  // namespace
}  // namespace snakepit
