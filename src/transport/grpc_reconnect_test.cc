// A connection to a worker over gRPC that ends while the worker goes on, as servers end theirs that
// are idle, or old: the next call goes on another, to the same worker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "src/transport/grpc_fixture.h"
#include "src/transport/grpc_relay.h"

namespace snakepit {
namespace {

using ::testing::HasSubstr;

class GrpcReconnectTest : public testing::GrpcConnectionTest {
 protected:
  std::string Serve() override {
    const std::string target = worker_.Serve();
    relay_.emplace(std::stoi(target.substr(target.rfind(':') + 1)));
    return "127.0.0.1:" + std::to_string(relay_->port());
  }

  std::optional<testing::Relay> relay_;
};

TEST_F(GrpcReconnectTest, ACallAfterTheEndOfAnIdleConnectionGoesOnAnother) {
  worker_.token = testing::kToken;
  Connection& connection = Connect();
  for (int i = 0; i < 3; ++i) {
    relay_->Cut();
    EXPECT_TRUE(connection.Call(Request("echo")).result);
    relay_->Cut();
    EXPECT_TRUE(CallAsync(connection, Request("echo")).result);
    relay_->Cut();
    const Value args = Value::Map{{"n", 2}};
    EXPECT_EQ(*connection.Stream(Request("count", args), [](auto&) { return true; }).result, 2);
    relay_->Cut();
    EXPECT_TRUE(CheckHealth(connection));
  }
  EXPECT_EQ(worker_.request_ids().size(), 9u);
}

using StoppedWorkerTest = testing::GrpcConnectionTest;

TEST_F(StoppedWorkerTest, WhereNobodyListensAnyMoreTheWorkerIsLostAndNothingWasSent) {
  Connection& connection = Connect();
  worker_.Stop();
  for (const bool async : {false, true}) {
    const auto outcome =
        async ? CallAsync(connection, Request("echo")) : connection.Call(Request("echo"));
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kWorkerLost);
    EXPECT_THAT(outcome.result.error().message, HasSubstr("127.0.0.1"));
    EXPECT_FALSE(outcome.result.error().may_have_run);
    EXPECT_EQ(outcome.after, AfterCall::kLost);
  }
  EXPECT_EQ(CheckHealth(connection).error().code, ErrorCode::kWorkerLost);
}

TEST_F(GrpcReconnectTest, WhatTheWorkerHasGoesOnWhileItTakesNoMoreOnTheConnection) {
  worker_.max_connection_age = std::chrono::milliseconds(200);  // then it says GOAWAY
  Connection& connection = Connect();
  const int before = worker_.connections();
  std::thread caller([&] {
    const auto outcome = connection.Call(Request("ignore"));
    EXPECT_EQ(outcome.result.error().message, "cancelled");  // as it ends when it is released
    EXPECT_EQ(outcome.after, AfterCall::kUsable);
  });
  ASSERT_TRUE(worker_.WaitForRunning(1));
  size_t calls = 1;
  const auto end = testing::Soon();
  while (worker_.connections() == before && std::chrono::steady_clock::now() < end) {
    const auto sync = connection.Call(Request("echo"));
    EXPECT_TRUE(sync.result) << sync.result.error().ToString();
    const auto async = CallAsync(connection, Request("echo"));
    EXPECT_TRUE(async.result) << async.result.error().ToString();
    calls += 2;
  }
  EXPECT_GT(worker_.connections(), before);
  EXPECT_EQ(worker_.request_ids().size(), calls) << "one was run twice";
  worker_.Release();
  caller.join();
}

}  // namespace
}  // namespace snakepit
