#include "src/worker/stdio/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "src/wire/msgpack.h"
#include "src/worker/stdio/testing/fixture.h"

namespace snakepit {
namespace {

using testing::Args;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::StdioPeer;

using testing::StdioServerTest;

// {"args": {"a": […]}, "id": 7, "command": "echo"} with so many nulls, in MessagePack.
std::string RequestOfNulls(size_t nulls) {
  std::string payload;
  AppendMsgpackMapHeader(3, &payload);
  AppendMsgpackText("args", &payload);
  AppendMsgpackMapHeader(1, &payload);
  AppendMsgpackText("a", &payload);
  AppendMsgpackArrayHeader(nulls, &payload);
  payload.append(nulls, '\xc0');
  AppendMsgpackText("id", &payload);
  AppendMsgpackInt(7, &payload);
  AppendMsgpackText("command", &payload);
  AppendMsgpackText("echo", &payload);
  return payload;
}

// They are refused before their memory is taken.
TEST_P(StdioServerTest, ArgumentsOverTheLimitOfMemoryAreRefused) {
  if (GetParam() == Codec::kJson) GTEST_SKIP() << "no JSON of 64 MiB is so many nulls";
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.SendPayload(RequestOfNulls(34'000'000));
  const auto reply = peer.Receive();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->id, 7);
  EXPECT_EQ(reply->error.code, ErrorCode::kMessageTooLarge);
  EXPECT_THAT(reply->error.message, HasSubstr("over the limit max_decoded_bytes of 536870912"));
  EXPECT_FALSE(reply->error.may_have_run);
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  EXPECT_EQ(End(), 0);
}

TEST_P(StdioServerTest, AgreesOnVersion2) {
  Create(7);
  StdioPeer& peer = Serve(1 << 20);
  const Agreement agreement = peer.Negotiate(GetParam());
  EXPECT_EQ(agreement.codec, GetParam());
  EXPECT_EQ(agreement.version, 2);
  EXPECT_TRUE(agreement.stream);
  EXPECT_TRUE(agreement.session);
  EXPECT_EQ(agreement.capacity, 7);
  EXPECT_EQ(agreement.max_frame_bytes, size_t{1} << 20);
  EXPECT_EQ(agreement.worker_id, commands().worker_id);
  const Reply reply = peer.Call("ping", Value::Map{{"initialization", true}});
  EXPECT_EQ(reply.value.TextAt("status"), "ok");
  EXPECT_EQ(*reply.value.Find("echo"), Value(Value::Map{{"initialization", true}}));
  EXPECT_EQ(End(), 0);
}

TEST_P(StdioServerTest, ServesAPoolThatDoesNotNegotiate) {
  Create();
  StdioPeer& peer = Serve();
  peer.Assume(GetParam(), 1);
  EXPECT_EQ(peer.Call("ping").value.TextAt("status"), "ok");
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  const Reply unknown = peer.Call("nope");
  EXPECT_EQ(unknown.error.code, ErrorCode::kUnimplemented);
  EXPECT_THAT(unknown.error.message,
              StartsWith("Unknown command: nope; supported commands: bytes"));
  EXPECT_EQ(End(), 0);
}

TEST_P(StdioServerTest, AnswersPipelinedRequestsOfVersion1InTheirOrder) {
  Create(4);
  StdioPeer& peer = Serve();
  peer.Assume(GetParam(), 1);
  const uint64_t first = peer.Send("gate");
  std::vector<uint64_t> ids = {first};
  for (int i = 0; i < 50; ++i) ids.push_back(peer.Send("echo", Args(i)));
  AwaitBegun(1);
  Release();
  for (const uint64_t id : ids) EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(id));
}

TEST_P(StdioServerTest, CarriesEveryValueOfVersion2) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const Value value = Value::Map{{"bytes", Bytes{"\xff\x01"}},
                                 {"infinity", -std::numeric_limits<double>::infinity()},
                                 {"tag", Value::Map{{"$bytes", 1}}},
                                 {"large", UINT64_MAX},
                                 {"null", nullptr}};
  EXPECT_EQ(peer.Call("echo", value).value, value);
}

TEST_P(StdioServerTest, ExceptionsAndErrorsAreFailures) {
  Create();
  commands().registry.Add("throw",
                          [](const Call&) -> Value { throw std::out_of_range("no row 2"); });
  commands().registry.Add("throw_int", [](const Call&) -> Value { throw 7; });
  commands().registry.Add("empty", [](const Call&) -> Value { throw std::runtime_error(""); });
  commands().registry.Add("refuse", [](const Call& call) { return call.Integer("n"); });
  commands().registry.Add("error", [](const Call&) -> Result<Value> {
    return Fail(ErrorCode::kMessageTooLarge, "as told");
  });
  commands().registry.Add("internal", [](const Call&) -> Result<Value> {
    return Fail(ErrorCode::kInternal, "as told");
  });
  commands().registry.Add("text", [](const Call&) -> Value { throw std::runtime_error("\xff!"); });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const auto expect = [&](const char* command, ErrorCode code, const char* message) {
    const Reply reply = peer.Call(command, Value::Map{{"n", "x"}});
    EXPECT_EQ(reply.kind, Reply::Kind::kError) << command;
    EXPECT_EQ(reply.error.code, code) << command;
    EXPECT_EQ(reply.error.message, message) << command;
    EXPECT_TRUE(reply.error.may_have_run) << command;
  };
  expect("throw", ErrorCode::kHandlerFailed, "std::out_of_range: no row 2");
  expect("throw_int", ErrorCode::kHandlerFailed, "int");
  expect("empty", ErrorCode::kHandlerFailed, "std::runtime_error");
  expect("refuse", ErrorCode::kInvalidArgument, "\"n\" must be an integer, not \"x\"");
  expect("error", ErrorCode::kMessageTooLarge, "as told");
  expect("internal", ErrorCode::kHandlerFailed, "INTERNAL: as told");
  expect("text", ErrorCode::kHandlerFailed, "std::runtime_error: \xEF\xBF\xBD!");
  EXPECT_EQ(commands().total_errors(), 7);
  EXPECT_EQ(commands().total_requests(), 7);
}

TEST_P(StdioServerTest, AResultThatCannotBeSentIsAFailure) {
  Create();
  commands().registry.Add("bad", [](const Call&) { return Value::Map{{"t", "\xff"}}; });
  commands().registry.Add("large", [](const Call&) { return std::string(5000, 'x'); });
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam(), 4096);
  Reply reply = peer.Call("bad");
  EXPECT_EQ(reply.error.code, ErrorCode::kHandlerFailed);
  EXPECT_THAT(reply.error.message, HasSubstr("result.t"));
  reply = peer.Call("large");
  EXPECT_EQ(reply.error.code, ErrorCode::kMessageTooLarge);
  EXPECT_TRUE(reply.error.may_have_run);
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
}

TEST_P(StdioServerTest, WhatIsNoRequestIsRefusedAndTheWorkerGoesOn) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.SendPayload("");
  peer.SendPayload("\xc1 no message");
  for (int i = 0; i < 2; ++i) {
    const Reply refused = *peer.Receive();
    EXPECT_EQ(refused.id, std::nullopt);
    EXPECT_EQ(refused.error.code, ErrorCode::kInvalidArgument);
  }
  peer.SendPayload(GetParam() == Codec::kJson ? R"({"id":9,"args":{}})"
                                              : "\x82\xa2id\x09\xa4"
                                                "args\x80");
  Reply refused = *peer.Receive();
  EXPECT_EQ(refused.id, 9);
  EXPECT_FALSE(refused.error.may_have_run);
  // A message of an unknown type gets no answer.
  peer.SendPayload(GetParam() == Codec::kJson ? R"({"type":"x"})" : "\x81\xa4type\xa1x");
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  EXPECT_EQ(commands().total_requests(), 1);
}

TEST_P(StdioServerTest, ABadFirstFrameLeavesTheNextFree) {
  Create();
  StdioPeer& peer = Serve();
  peer.SendPayload("{");
  EXPECT_EQ(peer.Receive()->id, std::nullopt);
  EXPECT_EQ(peer.Negotiate(GetParam()).version, 2);
}

TEST_P(StdioServerTest, ALengthOverTheLimitEndsTheWorkerWith1) {
  Create();
  StdioPeer& peer = Serve(4096);
  peer.Negotiate(GetParam());
  peer.SendBytes(std::string_view("\x00\x00\x10\x01", 4));
  const Reply refused = *peer.Receive();
  EXPECT_EQ(refused.id, std::nullopt);
  EXPECT_EQ(refused.error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(AwaitEnd(), 1);
}

TEST_P(StdioServerTest, TheEndOfInputWithinAFrameEndsTheWorkerWith1) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.SendBytes(std::string_view("\x00\x00\x00\x05{}", 6));
  EXPECT_EQ(End(), 1);
}

TEST_P(StdioServerTest, ABusyWorkerAnswersAfterTheEndOfItsInput) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("gate");
  peer.Send("gate");
  AwaitBegun(2);
  peer.CloseInput();
  Release(2);
  EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
  EXPECT_EQ(peer.Receive()->kind, Reply::Kind::kResult);
  EXPECT_EQ(AwaitEnd(), 0);
}

TEST_P(StdioServerTest, AfterTerminateCallsEndAndNoneIsBegun) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t first = peer.Send("gate");
  AwaitBegun(1);
  server_->Terminate();
  const Reply refused = peer.Call("echo", Args(1));
  EXPECT_EQ(refused.error.code, ErrorCode::kCancelled);
  EXPECT_FALSE(refused.error.may_have_run);
  Release();
  EXPECT_EQ(peer.Receive()->id, static_cast<int64_t>(first));
  EXPECT_EQ(AwaitEnd(), 0);
}

TEST_P(StdioServerTest, AnIdleWorkerEndsAtTerminate) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  EXPECT_EQ(peer.Call("echo", Args(1)).value, Args(1));
  server_->Terminate();
  EXPECT_EQ(AwaitEnd(), 0);
}

TEST_P(StdioServerTest, APoolThatIsGoneCancelsItsCalls) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.Send("wait");
  AwaitBegun(1);
  // With nobody to read, the first write breaks the connection; the input stays open.
  peer.Send("bytes", Value::Map{{"n", 1'000'000}, {"size", 1000}}, {.stream = true});
  EXPECT_EQ(peer.Receive()->chunk_index, 0);
  peer.CloseOutput();
  EXPECT_EQ(AwaitEnd(), 1);
}

TEST_P(StdioServerTest, APoolThatIsGoneAfterAnIdInFlightCancelsItsCalls) {
  Create(2);
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  const uint64_t id = peer.Send("wait");
  AwaitBegun(1);
  peer.CloseOutput();
  peer.Send("echo", Args(1), {.id = id});
  EXPECT_EQ(AwaitEnd(), 1);
}

TEST_P(StdioServerTest, InfoIsAnsweredAsAMessageAndAsACommand) {
  Create();
  StdioPeer& peer = Serve();
  peer.Negotiate(GetParam());
  peer.SendPayload(GetParam() == Codec::kJson ? R"({"type":"info","id":77})"
                                              : "\x82\xa4type\xa4info\xa2id\x4d");
  const Reply info = *peer.Receive();
  EXPECT_EQ(info.id, 77);
  EXPECT_EQ(info.value.TextAt("worker_type"), "test");
  for (const char* member : {"capabilities", "stats", "system_info"}) {
    ASSERT_NE(info.value.Find(member), nullptr) << member;
    EXPECT_TRUE(info.value.Find(member)->is_map()) << member;
  }
  EXPECT_EQ(peer.Call("info").value.Find("bridge_info")->TextAt("name"), "test");
}

TEST_F(StdioServerTest, ANegotiationThatCannotBeAgreedToEndsTheWorkerWith1) {
  Create();
  StdioPeer& peer = Serve();
  peer.SendPayload(R"({"type":"protocol_negotiation","supported":["cbor"],"preferred":"cbor"})");
  EXPECT_THAT(*peer.ReceivePayload(), HasSubstr("protocol_error"));
  EXPECT_EQ(AwaitEnd(), 1);
}

TEST_F(StdioServerTest, ANegotiationOfVersion1IsAnsweredSo) {
  Create(4);
  StdioPeer& peer = Serve();
  peer.SendPayload(R"({"type":"protocol_negotiation","supported":["msgpack","json"],)"
                   R"("preferred":"msgpack"})");
  const std::string answer = *peer.ReceivePayload();
  EXPECT_THAT(answer, HasSubstr(R"("protocol":"msgpack")"));
  EXPECT_THAT(answer, ::testing::Not(HasSubstr("version")));
  peer.Assume(Codec::kMessagePack, 1);
  EXPECT_EQ(peer.Call("ping").value.TextAt("status"), "ok");
  // Members of version 2 are ignored.
  EXPECT_EQ(peer.Call("bytes", Value::Map{{"n", 0}, {"size", 1}}).kind, Reply::Kind::kResult);
}

INSTANTIATE_TEST_SUITE_P(Codecs, StdioServerTest,
                         ::testing::Values(Codec::kJson, Codec::kMessagePack),
                         [](const auto& info) { return std::string(CodecName(info.param)); });

}  // namespace
}  // namespace snakepit
