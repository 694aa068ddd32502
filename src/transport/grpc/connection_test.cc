// Calls, streams and questions over gRPC. PROTOCOL.md 4 and 6.11.
#include "src/transport/grpc/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "src/transport/grpc/testing/fixture.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::ElementsAre;
using testing::GrpcConnectionTest;
using ::testing::HasSubstr;
using testing::Into;

// --- Calls -------------------------------------------------------------------------------------

TEST_F(GrpcConnectionTest, ValuesOfVersion2ComeBackEqual) {
  const Value args = Value::Map{
      {"null", nullptr},
      {"bytes", Bytes{"abc"}},
      {"text", "5"},
      {"one", 1.0},
      {"zero", -0.0},
      {"nan", std::numeric_limits<double>::quiet_NaN()},
      {"infinity", -std::numeric_limits<double>::infinity()},
      {"big", UINT64_MAX},
      {"nested", Value::Array{Bytes{"\xff"}, Value::Map{{"$bytes", 1}}, true}},
  };
  Connection& connection = Connect();
  const auto outcome = connection.Call(Request("echo", args));
  ASSERT_TRUE(outcome.result) << outcome.result.error().ToString();
  EXPECT_EQ(*outcome.result, args) << outcome.result->ToJson();
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
  EXPECT_TRUE(worker_.seen().last_request.args().empty());
  const auto async = CallAsync(connection, Request("echo", args));
  ASSERT_TRUE(async.result);
  EXPECT_EQ(*async.result, args);
}

TEST_F(GrpcConnectionTest, NoArgumentsAreAnEmptyMap) {
  Connection& connection = Connect();
  CallRequest request = Request("echo");
  request.args = nullptr;
  EXPECT_EQ(*connection.Call(request).result, Value(Value::Map{}));
  const Value null;
  request.args = &null;
  EXPECT_EQ(*connection.Call(request).result, Value(Value::Map{}));
  EXPECT_EQ(worker_.seen().last_request.typed_args(), "\x80");
}

TEST_F(GrpcConnectionTest, AResultMayBeAnyValue) {
  Connection& connection = Connect();
  const Value args = Value::Map{{"typed_result", Bytes{"\x05"}}};
  EXPECT_EQ(*connection.Call(Request("reply", args)).result, Value(5));
  // This is no error in version 2.
  const Value status = Value::Map{{"status", "error"}, {"error", "no"}};
  EXPECT_EQ(*connection.Call(Request("echo", status)).result, status);
}

TEST_F(GrpcConnectionTest, AResultThatCannotBeDecodedFailsThatCallAlone) {
  Connection& connection = Connect();
  for (const std::string bytes : {"", "\xc1", "\x81\x01\x02", "\x01\x02"}) {
    const Value args = Value::Map{{"typed_result", Bytes{bytes}}};
    const auto outcome = connection.Call(Request("reply", args));
    ASSERT_FALSE(outcome.result) << outcome.result->ToJson();
    EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
    EXPECT_TRUE(outcome.result.error().may_have_run);
    EXPECT_EQ(outcome.after, AfterCall::kUsable);
  }
  EXPECT_TRUE(connection.Call(Request("echo")).result);
}

TEST_F(GrpcConnectionTest, ArgumentsThatCannotBeCarriedAreNotSent) {
  Connection& connection = Connect();
  const Value args = Value::Map{{"t", "\xff"}};
  const auto outcome = connection.Call(Request("echo", args));
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(outcome.result.error().message, HasSubstr("args.t"));
  EXPECT_FALSE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kUnsent);
  EXPECT_EQ(worker_.seen().Count("Execute"), 0);
}

TEST_F(GrpcConnectionTest, AnErrorHasItsCodeAndSaysWhetherTheCommandRan) {
  Connection& connection = Connect();
  const Value ran = Value::Map{{"error", "b is no number"}, {"code", "INVALID_ARGUMENT"}};
  auto outcome = connection.Call(Request("fail", ran));
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(outcome.result.error().message, "b is no number");
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);

  const Value did_not =
      Value::Map{{"error", "b is no number"}, {"code", "INVALID_ARGUMENT"}, {"did_not_run", true}};
  EXPECT_FALSE(connection.Call(Request("fail", did_not)).result.error().may_have_run);
  const auto stream = connection.Stream(Request("fail", did_not), [](auto&) { return true; });
  ASSERT_FALSE(stream.result);
  EXPECT_EQ(stream.result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(stream.result.error().may_have_run);
  EXPECT_EQ(stream.after, AfterCall::kUsable);

  outcome = connection.Call(Request("nonsense"));
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kUnimplemented);
  EXPECT_FALSE(outcome.result.error().may_have_run);
}

TEST_F(GrpcConnectionTest, AMessageOverTheWorkersLimitIsNotSent) {
  worker_.info.set_max_message_bytes(2000);
  Connection& connection = Connect();
  const Value large = Value::Map{{"b", Bytes{std::string(2000, 'x')}}};
  CallRequest request = Request("echo", large);
  const auto expect_refused = [](const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::kMessageTooLarge) << error.ToString();
    EXPECT_THAT(error.message, HasSubstr("2000"));
    EXPECT_FALSE(error.may_have_run);
  };
  for (const char* session : {"", "s1"}) {
    request.session_id = session;
    const auto outcome = connection.Call(request);
    EXPECT_EQ(outcome.after, AfterCall::kUnsent);
    expect_refused(outcome.result.error());
    expect_refused(connection.Stream(request, [](auto&) { return true; }).result.error());
    expect_refused(CallAsync(connection, request).result.error());
  }
  EXPECT_EQ(worker_.seen().request_ids.size(), 0u);
  const Value small = Value::Map{{"b", Bytes{std::string(1900, 'x')}}};
  EXPECT_TRUE(connection.Call(Request("echo", small)).result);
}

TEST_F(GrpcConnectionTest, WhatIsOverThePoolsLimitIsTooLarge) {
  peer_.options.max_message_bytes = 100'000;
  Connection& connection = Connect();
  const Value args = Value::Map{{"bytes", 100'000}};
  const auto call = connection.Call(Releasable("large", args));
  EXPECT_EQ(call.result.error().code, ErrorCode::kMessageTooLarge);
  EXPECT_TRUE(call.result.error().may_have_run);
  EXPECT_EQ(call.after, AfterCall::kAbandoned);
  // It is this side that refuses the chunk: the handler would go on.
  const auto stream = connection.Stream(Releasable("large", args), [](auto&) { return true; });
  EXPECT_EQ(stream.result.error().code, ErrorCode::kMessageTooLarge);
  EXPECT_EQ(stream.after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(2), ElementsAre(AfterCall::kUsable, AfterCall::kUsable));
  EXPECT_EQ(worker_.seen().running.size(), 0u);
}

TEST_F(GrpcConnectionTest, CallsOfASessionSayWhich) {
  Connection& connection = Connect();
  CallRequest request = Request("echo");
  request.session_id = "s1";
  EXPECT_TRUE(connection.Call(request).result);
  EXPECT_TRUE(CallAsync(connection, request).result);
  const Value one = Value::Map{{"n", 1}};
  CallRequest stream = Request("count", one);
  stream.session_id = "s2";
  EXPECT_TRUE(connection.Stream(stream, [](auto&) { return true; }).result);
  EXPECT_THAT(worker_.seen().sessions, ElementsAre("s1", "s1", "s2"));
}

TEST_F(GrpcConnectionTest, AWorkerWithoutSessionsIsNotToldOfThem) {
  worker_.info.clear_features();
  worker_.info.add_features("stream");
  Connection& connection = Connect();
  CallRequest request = Request("echo");
  request.session_id = "s1";
  EXPECT_TRUE(connection.Call(request).result);
  EXPECT_TRUE(CallAsync(connection, request).result);
  connection.EndSession("s1");
  EXPECT_TRUE(connection.Call(request).result);
  EXPECT_EQ(worker_.seen().Count("ExecuteInSession"), 0);
  EXPECT_EQ(worker_.seen().Count("Execute"), 3);
}

TEST_F(GrpcConnectionTest, TheEndOfASessionIsTold) {
  Connection& connection = Connect();
  connection.EndSession("s1");
  ASSERT_TRUE(worker_.WaitUntil([](const auto& seen) { return !seen.ended_sessions.empty(); }));
  EXPECT_THAT(worker_.seen().ended_sessions, ElementsAre("s1"));
  EXPECT_EQ(worker_.seen().request_ids.size(), 0u);
}

// --- Version 1 ---------------------------------------------------------------------------------

TEST_F(GrpcConnectionTest, Version1GoesOnAsItWas) {
  SetVersion1();
  Connection& connection = Connect();
  const Value args = Value::Map{{"t", "5"}, {"n", 1}};
  CallRequest request = Request("echo", args);
  request.session_id = "s1";
  auto outcome = connection.Call(request);
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(*outcome.result, args);
  EXPECT_THAT(worker_.seen().sessions, ElementsAre("s1"));
  const ExecuteRequest sent = worker_.seen().last_request;
  EXPECT_TRUE(sent.typed_args().empty());
  EXPECT_EQ(sent.args().at("t"), "\"5\"");

  const Value error = Value::Map{{"status", "error"}, {"error", "no"}};
  EXPECT_EQ(connection.Call(Request("echo", error)).result.error().code, ErrorCode::kHandlerFailed);

  std::vector<Chunk> chunks;
  const Value two = Value::Map{{"n", 2}};
  EXPECT_EQ(*connection.Stream(Request("count", two), Into(&chunks)).result, 2);
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[1].value, Value(Value::Map{{"n", 1}}));
}

TEST_F(GrpcConnectionTest, AWorkerOfVersion1ThatIsGivenUpIsSoToSpeakAsEver) {
  SetVersion1();
  Connection& connection = Connect();
  std::stop_source stop;
  CallRequest stopped = Releasable("hold");
  stopped.stop = stop.get_token();
  const std::jthread stopper = OnceBegun([&] { stop.request_stop(); });
  auto outcome = connection.Call(stopped);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(outcome.after, AfterCall::kUnusable);

  CallRequest late = Releasable("hold");
  late.deadline = steady_clock::now() + milliseconds(50);
  outcome = connection.Call(late);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(outcome.after, AfterCall::kUnusable);

  const auto stream = connection.Stream(Releasable("count"), [](auto&) { return false; });
  EXPECT_EQ(stream.result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(stream.after, AfterCall::kUsable);
  EXPECT_EQ(releases_.count(), 0u);
}

// --- Streams -----------------------------------------------------------------------------------

TEST_F(GrpcConnectionTest, ChunksComeInOrderAndTheLastIsMarked) {
  Connection& connection = Connect();
  std::vector<Chunk> chunks;
  const Value three = Value::Map{{"n", 3}};
  const auto outcome = connection.Stream(Request("count", three), Into(&chunks));
  ASSERT_TRUE(outcome.result);
  EXPECT_EQ(*outcome.result, 3);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
  ASSERT_EQ(chunks.size(), 3u);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(chunks[i].index, i);
    EXPECT_EQ(chunks[i].value, Value(Value::Map{{"n", i}}));
    EXPECT_EQ(chunks[i].final, i == 2);
  }
}

TEST_F(GrpcConnectionTest, AFinalMessageWithoutAChunkHoldsNone) {
  Connection& connection = Connect();
  std::vector<Chunk> chunks;
  const Value args = Value::Map{{"n", 2}, {"separate_end", true}};
  EXPECT_EQ(*connection.Stream(Request("count", args), Into(&chunks)).result, 2);
  EXPECT_EQ(chunks.size(), 2u);
}

TEST_F(GrpcConnectionTest, ALastChunkMayBeAnEmptyMap) {
  Connection& connection = Connect();
  std::vector<Chunk> chunks;
  EXPECT_EQ(*connection.Stream(Request("empty_end"), Into(&chunks)).result, 1);
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].value, Value(Value::Map{}));
}

TEST_F(GrpcConnectionTest, AStreamOfVersion1MayEndWithoutAFinalMessage) {
  SetVersion1();
  EXPECT_EQ(*Connect().Stream(Request("nothing"), [](auto&) { return true; }).result, 0);
}

TEST_F(GrpcConnectionTest, AStreamOfVersion2HasAFinalMessage) {
  const auto outcome = Connect().Stream(Request("nothing"), [](auto&) { return true; });
  ASSERT_FALSE(outcome.result);
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_THAT(outcome.result.error().message, HasSubstr("without a final message"));
  EXPECT_TRUE(outcome.result.error().may_have_run);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
}

TEST_F(GrpcConnectionTest, AnErrorEndsAStreamAfterItsChunks) {
  Connection& connection = Connect();
  std::vector<Chunk> chunks;
  const Value args = Value::Map{{"error", "no row 1"}, {"code", "HANDLER_FAILED"}};
  const auto outcome = connection.Stream(Releasable("fail", args), Into(&chunks));
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kHandlerFailed);
  EXPECT_EQ(outcome.after, AfterCall::kUsable);
  EXPECT_EQ(chunks.size(), 1u);
}

TEST_F(GrpcConnectionTest, AMessageInMidStreamWithoutAChunkEndsIt) {
  Connection& connection = Connect();
  const auto outcome = connection.Stream(Releasable("no_chunk"), [](auto&) { return true; });
  EXPECT_EQ(outcome.result.error().code, ErrorCode::kProtocolError);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
  EXPECT_EQ(worker_.seen().running.size(), 0u);
}

TEST_F(GrpcConnectionTest, AWorkerThatDoesNotStreamGivesOneChunk) {
  worker_.info.clear_features();
  Connection& connection = Connect();
  std::vector<Chunk> chunks;
  const Value args = Value::Map{{"a", 1}};
  const auto outcome = connection.Stream(Request("echo", args), Into(&chunks));
  EXPECT_EQ(*outcome.result, 1);
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].value, args);
  EXPECT_TRUE(chunks[0].final);
  EXPECT_EQ(worker_.seen().Count("Execute"), 1);
  EXPECT_EQ(worker_.seen().Count("ExecuteStream"), 0);
}

TEST_F(GrpcConnectionTest, AStreamThatNobodyReadsIsHeldUpAtTheWorker) {
  Connection& connection = Connect();
  int64_t chunks = 0;
  int64_t written = 0;
  const auto outcome = connection.Stream(Releasable("fill"), [&](const Chunk&) {
    if (++chunks < 2000) return true;  // the more is read, the more gRPC might let come
    written = worker_.WaitUntilWritingStalls(milliseconds(300));
    const Value args = Value::Map{{"n", 5}, {"bytes", 4 << 20}};
    EXPECT_TRUE(connection.Call(Request("large", args)).result);
    EXPECT_TRUE(connection.Stream(Request("count", args), [](auto&) { return true; }).result);
    return false;
  });
  EXPECT_EQ(chunks, 2000);
  EXPECT_EQ(outcome.after, AfterCall::kAbandoned);
  // The worker is a window of HTTP/2 ahead, and the chunk that it is writing.
  EXPECT_LE(written - chunks, 4);
  EXPECT_THAT(releases_.WaitFor(1), ElementsAre(AfterCall::kUsable));
}

// --- Several at a time -------------------------------------------------------------------------

TEST_F(GrpcConnectionTest, CallsOfSeveralThreadsAreInFlightAtOnce) {
  Connection& connection = Connect();
  const Value args = Value::Map{{"callers", 8}};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto outcome = connection.Call(Request("meet", args));
      EXPECT_TRUE(outcome.result) << outcome.result.error().ToString();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(GrpcConnectionTest, NoTwoCallsHaveTheSameId) {
  constexpr int kThreads = 4, kCalls = 50;
  Connection& connection = Connect();
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int64_t n = 0; n < kCalls; ++n) {
        const Value args = Value::Map{{"n", n + 1}, {"thread", i}};
        EXPECT_EQ(*connection.Call(Request("echo", args)).result, args);
        if (n % 10 != 0) continue;
        EXPECT_EQ(*connection.Stream(Request("count", args), [](auto&) { return true; }).result,
                  n + 1);
        CallRequest stopped = Request("echo", args);
        std::stop_source stop;
        stop.request_stop();
        stopped.stop = stop.get_token();
        EXPECT_EQ(connection.Call(stopped).result.error().code, ErrorCode::kCancelled);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto ids = worker_.seen().request_ids;
  EXPECT_EQ(ids.size(), static_cast<size_t>(kThreads * (kCalls + kCalls / 10)));
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), ids.size());
}

// --- Health ------------------------------------------------------------------------------------

TEST_F(GrpcConnectionTest, HealthIsAskedWhileCallsAreInFlight) {
  Connection& connection = Connect();
  std::thread caller([&] { connection.Call(Request("ignore")); });
  ASSERT_TRUE(worker_.WaitForBegun(1));
  const Result<WorkerHealth> health = CheckHealth(connection);
  worker_.Release();
  caller.join();
  ASSERT_TRUE(health) << health.error().ToString();
  EXPECT_TRUE(health->healthy);
  EXPECT_EQ(health->worker_id, "worker_3");
  EXPECT_EQ(health->uptime, milliseconds(1200));
  EXPECT_EQ(health->total_requests, 41);
  EXPECT_EQ(health->total_errors, 2);
  EXPECT_EQ(health->calls_in_flight, 1);
  EXPECT_EQ(health->version, "1.0");
}

TEST_F(GrpcConnectionTest, AWorkerOfVersion1IsAskedToo) {
  SetVersion1();
  Connection& connection = Connect();
  std::thread caller([&] { connection.Call(Request("ignore")); });
  ASSERT_TRUE(worker_.WaitForBegun(1));
  const Result<WorkerHealth> health = CheckHealth(connection);
  worker_.Release();
  caller.join();
  ASSERT_TRUE(health) << health.error().ToString();
  EXPECT_TRUE(health->healthy);
  EXPECT_EQ(health->calls_in_flight, 1);
}

TEST_F(GrpcConnectionTest, AHealthThatDoesNotComeIsNamed) {
  Connection& connection = Connect();
  worker_.Hold("Health", true);
  EXPECT_EQ(CheckHealth(connection, steady_clock::now() + milliseconds(50)).error().code,
            ErrorCode::kDeadlineExceeded);
  worker_.Stop();
  EXPECT_EQ(CheckHealth(connection).error().code, ErrorCode::kWorkerLost);
}

TEST_F(GrpcConnectionTest, AWorkerThatSaysThatItIsBusyIsNeitherHungNorLost) {
  Connection& connection = Connect();
  for (const auto code : {grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::UNAVAILABLE,
                          grpc::StatusCode::DEADLINE_EXCEEDED, grpc::StatusCode::CANCELLED}) {
    worker_.SetHealthStatus({code, "one at a time"});
    const Result<WorkerHealth> health = CheckHealth(connection);
    ASSERT_FALSE(health);
    EXPECT_EQ(health.error().code, ErrorCode::kUnavailable) << code;
    EXPECT_THAT(health.error().message, HasSubstr("one at a time"));
  }
  worker_.SetHealthStatus({grpc::StatusCode::UNKNOWN, "no model"});
  EXPECT_EQ(CheckHealth(connection).error().code, ErrorCode::kHandlerFailed);
}

TEST_F(GrpcConnectionTest, AWorkerThatSendsChunksIsNotHung) {
  Connection& connection = Connect();
  worker_.Hold("Health", true);
  std::atomic<bool> checked = false;
  std::thread caller(
      [&] { connection.Stream(Releasable("count"), [&](auto&) { return !checked.load(); }); });
  EXPECT_EQ(CheckHealth(connection, steady_clock::now() + milliseconds(2000)).error().code,
            ErrorCode::kUnavailable);
  checked = true;
  caller.join();
  worker_.Hold("Health", false);
  releases_.WaitFor(1);
}

TEST_F(GrpcConnectionTest, AnAbortEndsAHealthInProgress) {
  Connection& connection = Connect();
  worker_.Hold("Health", true);
  std::thread aborter([&] {
    worker_.WaitForCount("Health", 2);
    connection.Abort();
  });
  EXPECT_EQ(CheckHealth(connection).error().code, ErrorCode::kWorkerLost);
  aborter.join();
  EXPECT_EQ(CheckHealth(connection).error().code, ErrorCode::kWorkerLost);
}

}  // namespace
}  // namespace snakepit
