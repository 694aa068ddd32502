// A connection to a worker over gRPC that ends while the worker goes on, as servers end theirs that
// are idle, or old: the next call goes on another, to the same worker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "src/transport/grpc/testing/fixture.h"
#include "src/transport/grpc/testing/relay.h"

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

  // The call arrives after the end.
  void EndSessionAndCall(Connection& connection, bool async) {
    connection.EndSession("s1");
    CallRequest request = Request("echo");
    request.session_id = "s1";
    EXPECT_TRUE((async ? CallAsync(connection, request) : connection.Call(request)).result);
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
  EXPECT_EQ(worker_.seen().request_ids.size(), 9u);
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
  const size_t before = worker_.seen().connections.size();
  std::thread caller([&] {
    const auto outcome = connection.Call(Request("ignore"));
    EXPECT_EQ(outcome.result.error().message, "cancelled");  // as it ends when it is released
    EXPECT_EQ(outcome.after, AfterCall::kUsable);
  });
  ASSERT_TRUE(worker_.WaitForRunning(1));
  size_t calls = 1;
  const auto end = testing::Soon();
  while (worker_.seen().connections.size() == before && std::chrono::steady_clock::now() < end) {
    const auto sync = connection.Call(Request("echo"));
    EXPECT_TRUE(sync.result) << sync.result.error().ToString();
    const auto async = CallAsync(connection, Request("echo"));
    EXPECT_TRUE(async.result) << async.result.error().ToString();
    calls += 2;
  }
  EXPECT_GT(worker_.seen().connections.size(), before);
  EXPECT_EQ(worker_.seen().request_ids.size(), calls) << "one was run twice";
  worker_.Release();
  caller.join();
}

class GoAwayTest : public testing::GrpcConnectionTest {
 protected:
  static Value Status(grpc::StatusCode code, const std::string& text) {
    return Value::Map{{"status", static_cast<int>(code)}, {"text", text}};
  }

  static void ExpectHandlerFailed(const Error& error, AfterCall after) {
    EXPECT_EQ(error.code, ErrorCode::kHandlerFailed) << error.ToString();
    EXPECT_TRUE(error.may_have_run);
    EXPECT_EQ(after, AfterCall::kUsable);
  }

  Connection& ConnectToOneThatGetsOld() {
    worker_.max_connection_age = std::chrono::milliseconds(200);  // then it says GOAWAY
    return Connect();
  }

  // Until the worker takes calls on another connection only.
  void CallUntilTheConnectionIsAnother(Connection& connection) {
    const size_t before = worker_.seen().connections.size();
    const auto end = testing::Soon();
    while (worker_.seen().connections.size() == before && std::chrono::steady_clock::now() < end) {
      ASSERT_TRUE(connection.Call(Request("echo")).result);
    }
  }
};

TEST_F(GoAwayTest, WhatACallEndsWithOnAConnectionThatTakesNoMoreIsTheHandlers) {
  Connection& connection = ConnectToOneThatGetsOld();
  std::vector<std::thread> callers;
  const Value two = Value::Map{{"callers", 2}};
  callers.emplace_back([&] {  // keeps the connection open
    EXPECT_TRUE(connection.Call(Request("meet", two)).result);
  });
  for (const auto code :
       {grpc::StatusCode::INTERNAL, grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::CANCELLED}) {
    callers.emplace_back([&, args = Status(code, "as asked for")] {
      const auto outcome = connection.Call(Request("late_status", args));
      ExpectHandlerFailed(outcome.result.error(), outcome.after);
    });
    callers.emplace_back([&, args = Status(code, "as asked for")] {
      const auto outcome = CallAsync(connection, Request("late_status", args));
      ExpectHandlerFailed(outcome.result.error(), outcome.after);
    });
  }
  ASSERT_TRUE(worker_.WaitForRunning(7));
  CallUntilTheConnectionIsAnother(connection);
  worker_.Release();
  for (size_t i = 1; i < callers.size(); ++i) callers[i].join();
  EXPECT_TRUE(connection.Call(Request("meet", two)).result);
  callers[0].join();
}

TEST_F(GoAwayTest, SoItIsWhereTheConnectionIsClosedInOrderAfterIt) {
  Connection& connection = ConnectToOneThatGetsOld();
  const Value args = Status(grpc::StatusCode::INTERNAL, "as asked for");
  std::thread caller([&] {
    const auto outcome = connection.Call(Request("late_status", args));
    ExpectHandlerFailed(outcome.result.error(), outcome.after);
  });
  ASSERT_TRUE(worker_.WaitForRunning(1));
  CallUntilTheConnectionIsAnother(connection);
  worker_.Release();
  caller.join();
}

TEST_F(GoAwayTest, AStreamThatHasGivenChunksIsNotSentAgain) {
  Connection& connection = ConnectToOneThatGetsOld();
  const Value args = Status(grpc::StatusCode::UNAVAILABLE, "GOAWAY received");
  int chunks = 0;
  std::thread caller([&] {
    const auto outcome = connection.Stream(Request("late_status", args), [&](const Chunk&) {
      ++chunks;
      return true;
    });
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kWorkerLost);
    EXPECT_TRUE(outcome.result.error().may_have_run);
  });
  ASSERT_TRUE(worker_.WaitForRunning(1));
  CallUntilTheConnectionIsAnother(connection);
  worker_.Release();
  caller.join();
  EXPECT_EQ(chunks, 1);
  EXPECT_EQ(worker_.seen().Count("ExecuteStream"), 1);
}

// gRPC's servers do so when they stop: the connection's end comes a moment later.
TEST_F(GrpcReconnectTest, AServerThatCancelsHealthTooIsAboutToEnd) {
  std::atomic<int> asked = 0;
  worker_.on_health = [&] {
    if (++asked == 3) relay_->Cut();
  };
  Connection& connection = Connect();
  const grpc::Status cancelled = grpc::Status::CANCELLED;
  worker_.SetHealthStatus(cancelled);
  const Value args = Value::Map{{"status", static_cast<int>(cancelled.error_code())}, {"text", ""}};
  const auto expect_lost = [&](const auto& outcome) {
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kWorkerLost)
        << outcome.result.error().ToString();
    EXPECT_TRUE(outcome.result.error().may_have_run);
    EXPECT_EQ(outcome.after, AfterCall::kLost);
    EXPECT_EQ(asked.exchange(0), 3);
  };
  asked = 0;
  expect_lost(connection.Call(Request("status", args)));
  expect_lost(CallAsync(connection, Request("status", args)));
  expect_lost(connection.Stream(Request("status", args), [](auto&) { return true; }));
}

TEST_F(GrpcReconnectTest, TheEndOfASessionIsToldOnAnotherConnection) {
  Connection& connection = Connect();
  for (size_t i = 1; i <= 3; ++i) {
    relay_->Cut();
    EndSessionAndCall(connection, /*async=*/i == 2);
    EXPECT_EQ(worker_.seen().ended_sessions.size(), i);
  }
}

TEST_F(GrpcReconnectTest, TheEndOfASessionIsToldAgainToAWorkerThatIsBusy) {
  Connection& connection = Connect();
  for (const bool async : {false, true}) {
    worker_.Refuse(3);
    EndSessionAndCall(connection, async);
    EXPECT_EQ(worker_.seen().ended_sessions.size(), async ? 2u : 1u);
  }
}

TEST_F(GrpcReconnectTest, ACallThatWaitsForTheEndOfASessionCanBeGivenUp) {
  Connection& connection = Connect();
  worker_.Refuse(1'000'000);
  connection.EndSession("s1");
  CallRequest late = Request("echo");
  late.session_id = "s1";
  late.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  for (const bool async : {false, true}) {
    const auto outcome = async ? CallAsync(connection, late) : connection.Call(late);
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kDeadlineExceeded);
    EXPECT_FALSE(outcome.result.error().may_have_run);
    EXPECT_EQ(outcome.after, AfterCall::kUnsent);
  }
  std::stop_source stop;
  CallRequest stopped = Request("echo");
  stopped.session_id = "s1";
  stopped.stop = stop.get_token();
  std::thread stopper([&] { stop.request_stop(); });
  const auto outcome = connection.Call(stopped);
  stopper.join();
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kUnsent);
  EXPECT_EQ(worker_.seen().request_ids.size(), 0u);
}

TEST_F(GrpcReconnectTest, AWorkerThatTakesNoRpcOnAnyNewConnectionIsLost) {
  for (const bool async : {false, true}) {
    Connection& connection = Connect();
    relay_->Refuse();
    relay_->Cut();
    CallRequest request = Request("echo");
    request.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    const auto outcome = async ? CallAsync(connection, request) : connection.Call(request);
    ASSERT_FALSE(outcome.result);
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kWorkerLost)
        << outcome.result.error().ToString();
    EXPECT_FALSE(outcome.result.error().may_have_run);
    EXPECT_EQ(outcome.after, AfterCall::kLost);
    connection.Abort();
    connection_.reset();
    relay_.reset();
    worker_.Stop();
  }
}

}  // namespace
}  // namespace snakepit
