// The meaning of a gRPC status for a call and for its worker. PROTOCOL.md 4.4.5.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "src/transport/grpc/testing/fixture.h"
#include "src/transport/grpc/testing/relay.h"

namespace snakepit {
namespace {

using ::testing::HasSubstr;
using Code = grpc::StatusCode;

class GrpcStatusTest : public testing::GrpcConnectionTest {
 protected:
  struct Meaning {
    ErrorCode code;
    std::string message;
    bool may_have_run;
    AfterCall after;
  };

  static Value Status(Code code, const std::string& text = "as asked for") {
    return Value::Map{{"status", static_cast<int>(code)}, {"text", text}};
  }
  static Value LongStatus(Code code, int bytes) {
    return Value::Map{{"status", static_cast<int>(code)}, {"bytes", bytes}};
  }

  template <typename T>
  static Meaning MeaningOf(const CallOutcome<T>& outcome) {
    const Error& error = outcome.result.error();
    return {error.code, error.message, error.may_have_run, outcome.after};
  }

  // A call that ends so, in each of the three ways to make one.
  std::vector<Meaning> Outcomes(Connection& connection, const Value& args) {
    const CallRequest request = Releasable("status", args);
    return {MeaningOf(connection.Call(request)), MeaningOf(CallAsync(connection, request)),
            MeaningOf(connection.Stream(request, [](auto&) { return true; }))};
  }

  // A caller whose call is to end with its connection.
  static std::thread LosesACall(Connection& connection, int number) {
    return std::thread([&connection, number] {
      const CallRequest request = Request("ignore");
      const Meaning meaning =
          number % 2 == 0 ? MeaningOf(connection.Call(request))
                          : MeaningOf(connection.Stream(request, [](auto&) { return true; }));
      EXPECT_EQ(meaning.code, ErrorCode::kWorkerLost) << meaning.message;
      EXPECT_EQ(meaning.after, AfterCall::kLost);
      EXPECT_TRUE(meaning.may_have_run);
    });
  }

  void ExpectHandlerFailed(Connection& connection, const Value& args, const std::string& message) {
    for (const Meaning& meaning : Outcomes(connection, args)) {
      EXPECT_EQ(meaning.code, ErrorCode::kHandlerFailed) << ErrorCodeName(meaning.code);
      EXPECT_EQ(meaning.message, message);
      EXPECT_TRUE(meaning.may_have_run);
      EXPECT_EQ(meaning.after, AfterCall::kUsable);
    }
  }
};

TEST_F(GrpcStatusTest, AStatusThatAHandlerChoseIsItsFailure) {
  const std::pair<Code, const char*> cases[] = {
      {Code::CANCELLED, "gRPC status CANCELLED: as asked for"},
      {Code::UNKNOWN, "as asked for"},  // of an exception
      {Code::DEADLINE_EXCEEDED, "gRPC status DEADLINE_EXCEEDED: as asked for"},
      {Code::NOT_FOUND, "gRPC status NOT_FOUND: as asked for"},
      {Code::ALREADY_EXISTS, "gRPC status ALREADY_EXISTS: as asked for"},
      {Code::PERMISSION_DENIED, "gRPC status PERMISSION_DENIED: as asked for"},
      {Code::RESOURCE_EXHAUSTED, "gRPC status RESOURCE_EXHAUSTED: as asked for"},
      {Code::FAILED_PRECONDITION, "gRPC status FAILED_PRECONDITION: as asked for"},
      {Code::ABORTED, "gRPC status ABORTED: as asked for"},
      {Code::OUT_OF_RANGE, "gRPC status OUT_OF_RANGE: as asked for"},
      {Code::INTERNAL, "gRPC status INTERNAL: as asked for"},
      {Code::UNAVAILABLE, "gRPC status UNAVAILABLE: as asked for"},
      {Code::DATA_LOSS, "gRPC status DATA_LOSS: as asked for"},
      {Code::UNAUTHENTICATED, "gRPC status UNAUTHENTICATED: as asked for"},
  };
  Connection& connection = Connect();
  for (const auto& [code, message] : cases) {
    ExpectHandlerFailed(connection, Status(code), message);
  }
  EXPECT_EQ(releases_.count(), 0u);
}

TEST_F(GrpcStatusTest, SoItIsInVersion1) {
  SetVersion1();
  Connection& connection = Connect();
  ExpectHandlerFailed(connection, Status(Code::UNKNOWN), "as asked for");
  ExpectHandlerFailed(connection, Status(Code::UNAVAILABLE),
                      "gRPC status UNAVAILABLE: as asked for");
  ExpectHandlerFailed(connection, Status(Code::DEADLINE_EXCEEDED),
                      "gRPC status DEADLINE_EXCEEDED: as asked for");
}

TEST_F(GrpcStatusTest, SomeStatusesAreCodesOfTheirOwn) {
  Connection& connection = Connect();
  for (const Meaning& meaning : Outcomes(connection, Status(Code::UNIMPLEMENTED))) {
    EXPECT_EQ(meaning.code, ErrorCode::kUnimplemented);
    EXPECT_FALSE(meaning.may_have_run);
    EXPECT_EQ(meaning.after, AfterCall::kUsable);
  }
  for (const Meaning& meaning : Outcomes(connection, Status(Code::INVALID_ARGUMENT))) {
    EXPECT_EQ(meaning.code, ErrorCode::kInvalidArgument);
    EXPECT_TRUE(meaning.may_have_run);
    EXPECT_EQ(meaning.after, AfterCall::kUsable);
  }
}

TEST_F(GrpcStatusTest, WhatGrpcItselfSaysIsNoFailureOfAHandler) {
  SetVersion1();
  Connection& connection = Connect();
  for (const char* text : {"Received message larger than max (5242903 vs. 4194304)",
                           "grpc: received message larger than max (5242903 vs. 4194304)",
                           "gRPC message exceeds maximum size 4194304: 5242903"}) {
    for (const Meaning& meaning : Outcomes(connection, Status(Code::RESOURCE_EXHAUSTED, text))) {
      EXPECT_EQ(meaning.code, ErrorCode::kMessageTooLarge);
      EXPECT_EQ(meaning.message, text);
      EXPECT_EQ(meaning.after, AfterCall::kUsable);
    }
  }
  const Value reset = Status(Code::CANCELLED, "Received RST_STREAM with error code 8");
  for (const Meaning& meaning : Outcomes(connection, reset)) {
    EXPECT_EQ(meaning.code, ErrorCode::kProtocolError);
    EXPECT_THAT(meaning.message, HasSubstr("without an answer"));
    EXPECT_EQ(meaning.after, AfterCall::kUsable);
  }
}

TEST_F(GrpcStatusTest, ACallThatIsRefusedAsBusyIsSentAgainAndRunsOnce) {
  Connection& connection = Connect();
  const Value args = Value::Map{{"n", 2}};
  worker_.Refuse(3);
  EXPECT_TRUE(connection.Call(Request("echo", args)).result);
  worker_.Refuse(3);
  EXPECT_TRUE(CallAsync(connection, Request("echo", args)).result);
  worker_.Refuse(3);
  EXPECT_EQ(*connection.Stream(Request("count", args), [](auto&) { return true; }).result, 2);
  EXPECT_EQ(worker_.seen().request_ids.size(), 3u);
}

TEST_F(GrpcStatusTest, ACallThatIsRefusedToTheEndHasNotRun) {
  Connection& connection = Connect();
  worker_.Refuse(1'000'000);
  CallRequest request = Request("echo");
  for (const bool async : {false, true}) {
    request.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
    const Meaning meaning =
        MeaningOf(async ? CallAsync(connection, request) : connection.Call(request));
    EXPECT_EQ(meaning.code, ErrorCode::kDeadlineExceeded);
    if (meaning.after != AfterCall::kUnsent) continue;  // the deadline came while one was sent
    EXPECT_THAT(meaning.message, HasSubstr("Concurrent RPC limit exceeded!"));
    EXPECT_FALSE(meaning.may_have_run);
  }
  std::stop_source stop;
  request.deadline = testing::Soon();
  request.stop = stop.get_token();
  std::thread stopper([&] { stop.request_stop(); });
  EXPECT_EQ(connection.Call(request).result.error().code, ErrorCode::kCancelled);
  stopper.join();
  EXPECT_EQ(worker_.seen().request_ids.size(), 0u);
}

TEST_F(GrpcStatusTest, ATextThatSaysNothingSaysWhatWould) {
  Connection& connection = Connect();
  ExpectHandlerFailed(connection, Status(Code::UNKNOWN, ""),
                      "the worker gave no reason; what it wrote to stderr may say more");
  ExpectHandlerFailed(connection, Status(Code::NOT_FOUND, ""),
                      "gRPC status NOT_FOUND, without a text");
  for (const Meaning& meaning : Outcomes(connection, Status(Code::UNKNOWN, "Unknown error"))) {
    EXPECT_EQ(meaning.code, ErrorCode::kHandlerFailed);
    EXPECT_THAT(meaning.message, HasSubstr("GRPC_NODE_DEBUG_SEND_ERROR_DETAILS=true"));
  }
}

TEST_F(GrpcStatusTest, ATextFitsIntoOneLine) {
  Connection& connection = Connect();
  ExpectHandlerFailed(connection, Status(Code::UNKNOWN, "boom 50% ünï\nline2"),
                      "boom 50% ünï\\nline2");
  // Bytes that a terminal would obey, or show otherwise than they are.
  ExpectHandlerFailed(connection, Status(Code::UNKNOWN, "a\u009b2J\u202eb\x1b[1A\u2028"),
                      "a\\u009b2J\\u202eb\\x1b[1A\\u2028");
}

TEST_F(GrpcStatusTest, AStatusHarmsNoOtherCall) {
  Connection& connection = Connect();
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      const auto outcome = connection.Call(Request("ignore"));
      EXPECT_EQ(outcome.result.error().message, "cancelled");  // as it ends when it is released
      EXPECT_EQ(outcome.after, AfterCall::kUsable);
    });
  }
  ASSERT_TRUE(worker_.WaitForRunning(3));
  for (const Value& args :
       {Status(Code::NOT_FOUND), Status(Code::UNAVAILABLE), Status(Code::CANCELLED),
        LongStatus(Code::UNKNOWN, 12'000), LongStatus(Code::INTERNAL, 900'000)}) {
    for (const Meaning& meaning : Outcomes(connection, args)) {
      EXPECT_EQ(meaning.code, ErrorCode::kHandlerFailed) << meaning.message.substr(0, 200);
    }
  }
  EXPECT_EQ(worker_.seen().running.size(), 3u);
  worker_.Release();
  for (std::thread& other : others) other.join();
}

TEST_F(GrpcStatusTest, ATextUpToTheLimitArrivesWholeAndALongerOneIsCut) {
  Connection& connection = Connect();
  ExpectHandlerFailed(connection, LongStatus(Code::UNKNOWN, 65'536), std::string(65'536, 'x'));
  ExpectHandlerFailed(connection, LongStatus(Code::UNKNOWN, 900'000),
                      std::string(65'502, 'x') + " [834498 bytes more]");
}

TEST_F(GrpcStatusTest, LargeMetadataBesideAResultDoNotCostIt) {
  const Value args = Value::Map{{"bytes", 900'000}};
  Connection& connection = Connect();
  EXPECT_EQ(*connection.Call(Request("trailers", args)).result, args);
  EXPECT_EQ(*CallAsync(connection, Request("trailers", args)).result, args);
}

TEST_F(GrpcStatusTest, ATextOverTheLimitIsNamedAndTheNextCallGoesOn) {
  SetVersion1();
  Connection& connection = Connect();
  for (int i = 0; i < 3; ++i) {
    const Value args = LongStatus(Code::UNKNOWN, 1'200'000);
    const auto call = i % 2 == 0 ? connection.Call(Request("status", args))
                                 : CallAsync(connection, Request("status", args));
    EXPECT_EQ(call.result.error().code, ErrorCode::kProtocolError);
    EXPECT_THAT(call.result.error().message, HasSubstr("over the limit of 1048576 bytes"));
    EXPECT_EQ(call.after, AfterCall::kUsable);
    const auto next = connection.Call(Request("echo"));
    EXPECT_TRUE(next.result) << next.result.error().ToString();
  }
}

TEST_F(GrpcStatusTest, AWorkerThatGoesIsLostToEachCall) {
  Connection& connection = Connect();
  std::vector<std::thread> callers;
  for (int i = 0; i < 6; ++i) callers.push_back(LosesACall(connection, i));
  ASSERT_TRUE(worker_.WaitForRunning(6));
  worker_.Stop();
  for (std::thread& caller : callers) caller.join();
}

class CutConnectionTest : public GrpcStatusTest {
 protected:
  std::string Serve() override {
    const std::string target = worker_.Serve();
    relay_.emplace(std::stoi(target.substr(target.rfind(':') + 1)));
    return "127.0.0.1:" + std::to_string(relay_->port());
  }

  std::optional<testing::Relay> relay_;
};

TEST_F(CutConnectionTest, IsLostToEachCallThoughTheWorkerLives) {
  Connection& connection = Connect();
  std::vector<std::thread> callers;
  for (int i = 0; i < 16; ++i) callers.push_back(LosesACall(connection, i));
  ASSERT_TRUE(worker_.WaitForRunning(16));
  relay_->Cut();
  for (std::thread& caller : callers) caller.join();
  worker_.Release();
}

TEST_F(CutConnectionTest, BytesThatAreNotTheProtocolsAreAProtocolErrorOfEachCall) {
  Connection& connection = Connect();
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      const Meaning meaning = MeaningOf(connection.Call(Request("ignore")));
      EXPECT_EQ(meaning.code, ErrorCode::kProtocolError) << meaning.message;
      EXPECT_THAT(meaning.message, HasSubstr("not HTTP/2"));
      EXPECT_TRUE(meaning.may_have_run);
      EXPECT_EQ(meaning.after, AfterCall::kUnusable);
    });
  }
  ASSERT_TRUE(worker_.WaitForRunning(8));
  relay_->Say(std::string(100, 'x'));
  for (std::thread& caller : callers) caller.join();
  worker_.Release();
}

}  // namespace
}  // namespace snakepit
