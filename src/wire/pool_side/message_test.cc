#include "src/wire/pool_side/message.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <string>

#include "src/value/value_gen.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"
#include "src/wire/msgpack.h"
#include "src/wire/testing/from_hex.h"

namespace snakepit {
namespace {

constexpr size_t kLimit = 1 << 20;
constexpr Codec kCodecs[] = {Codec::kJson, Codec::kMessagePack};

// The payload of an encoded request, or the error.
std::string Payload(Codec codec, const Request& request, size_t limit = kLimit) {
  std::string out;
  const Result<void> result = EncodeRequestFrame(codec, request, {.max_bytes = limit}, &out);
  return result ? out.substr(kFrameHeaderBytes) : result.error().ToString();
}

Request MakeRequest(uint64_t id, std::string_view command, const Value* args = nullptr) {
  Request request;
  request.id = id;
  request.command = command;
  request.args = args;
  return request;
}

// Decodes a reply given as JSON from either codec; both must agree.
Result<Reply> Decoded(const std::string& json, int version = 2) {
  std::string payload;
  EXPECT_TRUE(EncodeMsgpack(DecodeJson(json).value(), &payload).has_value());
  const Result<Reply> from_json = DecodeReply(Codec::kJson, version, json);
  const Result<Reply> from_msgpack = DecodeReply(Codec::kMessagePack, version, payload);
  EXPECT_EQ(from_json.has_value(), from_msgpack.has_value()) << json;
  if (from_json && from_msgpack) {
    EXPECT_EQ(from_json->kind, from_msgpack->kind);
    EXPECT_EQ(from_json->id, from_msgpack->id);
    EXPECT_EQ(from_json->value, from_msgpack->value);
    EXPECT_EQ(from_json->error.ToString(), from_msgpack->error.ToString());
  }
  return from_json;
}

std::string MalformedBy(const std::string& json) {
  const Result<Reply> reply = Decoded(json);
  if (reply) return "accepted";
  EXPECT_EQ(reply.error().code, ErrorCode::kProtocolError);
  return reply.error().message;
}

TEST(EncodeRequestTest, TheLegacyRequestHasIdCommandAndArgs) {
  const Value args = Value::Map{{"x", 1}};
  EXPECT_EQ(Payload(Codec::kJson, MakeRequest(7, "echo", &args)),
            "{\"id\":7,\"command\":\"echo\",\"args\":{\"x\":1}}");
  EXPECT_EQ(Payload(Codec::kJson, MakeRequest(7, "echo")),
            "{\"id\":7,\"command\":\"echo\",\"args\":{}}");
}

TEST(EncodeRequestTest, Version2FieldsAreOnlySentInVersion2AndWhenSet) {
  Request request = MakeRequest(1, "c");
  request.stream = true;
  request.credit = 4096;
  request.session_id = "s";
  request.timeout_ms = 1500;
  for (const Codec codec : kCodecs) {
    request.version = 1;
    EXPECT_EQ(Decode(codec, 1, Payload(codec, request)).value(),
              Value(Value::Map{{"id", 1}, {"command", "c"}, {"args", Value::Map{}}}));
    request.version = 2;
    EXPECT_EQ(Decode(codec, 2, Payload(codec, request)).value(),
              Value(Value::Map{{"id", 1},
                               {"command", "c"},
                               {"args", Value::Map{}},
                               {"stream", true},
                               {"credit", 4096},
                               {"session_id", "s"},
                               {"timeout_ms", 1500}}));
  }
  Request plain = MakeRequest(1, "c");
  plain.version = 2;
  plain.credit = 4096;  // not a stream
  EXPECT_EQ(Payload(Codec::kJson, plain), "{\"id\":1,\"command\":\"c\",\"args\":{}}");
}

TEST(EncodeRequestTest, WhatCannotBeSentIsNamedAndNothingIsAppended) {
  const Value bad = Value::Map{{"items", Value::Array{Bytes{"x"}}}};
  EXPECT_EQ(Payload(Codec::kJson, MakeRequest(1, "c", &bad)),
            "INVALID_ARGUMENT: args.items[0] is bytes, which JSON cannot hold");
  const Value no_map = 5;
  EXPECT_EQ(Payload(Codec::kJson, MakeRequest(1, "c", &no_map)),
            "INVALID_ARGUMENT: args is neither a map nor null");
  EXPECT_EQ(Payload(Codec::kMessagePack, MakeRequest(1, "\xff")),
            "INVALID_ARGUMENT: command is not UTF-8: \"\\xff\"");
  Request session = MakeRequest(1, "c");
  session.session_id = "\xff";
  EXPECT_EQ(Payload(Codec::kJson, session), "INVALID_ARGUMENT: session_id is not UTF-8: \"\\xff\"");
  EXPECT_EQ(Payload(Codec::kJson, MakeRequest(1, "c"), 10),
            "MESSAGE_TOO_LARGE: a message of 32 bytes is over the limit of 10");

  std::string out = "kept";
  EXPECT_FALSE(
      EncodeRequestFrame(Codec::kJson, MakeRequest(1, "c", &bad), {.max_bytes = kLimit}, &out));
  EXPECT_FALSE(EncodeRequestFrame(Codec::kJson, MakeRequest(1, "c"), {.max_bytes = 10}, &out));
  EXPECT_EQ(out, "kept");
}

RC_GTEST_PROP(EncodeRequestPropertyTest, AnyArgumentsArriveEqual, ()) {
  ValueGenOptions options;
  options.bytes = false;
  options.non_finite = false;
  const Value args = *GenMap(options);
  const std::string command = *GenText();
  for (const Codec codec : kCodecs) {
    const Result<Value> request = Decode(codec, 1, Payload(codec, MakeRequest(9, command, &args)));
    RC_ASSERT(request.has_value());
    RC_ASSERT(*request == Value(Value::Map{{"id", 9}, {"command", command}, {"args", args}}));
  }
}

std::string Frame(Codec codec, const Request& request) {
  std::string out;
  EXPECT_TRUE(EncodeRequestFrame(codec, request, {.max_bytes = kLimit}, &out).has_value());
  return out;
}

TEST(ExampleOfProtocolTest, Requests) {
  EXPECT_EQ(Frame(Codec::kJson, MakeRequest(1, "ping")),
            FromHex("00 00 00 23  7b 22 69 64 22 3a 31 2c 22 63 6f 6d 6d 61 6e 64 22 3a"
                    "22 70 69 6e 67 22 2c 22 61 72 67 73 22 3a 7b 7d 7d"));
  EXPECT_EQ(Frame(Codec::kMessagePack, MakeRequest(1, "ping")),
            FromHex("00 00 00 18  83  a2 69 64 01  a7 63 6f 6d 6d 61 6e 64 a4 70 69 6e 67"
                    "a4 61 72 67 73 80"));
  // 6.2.
  const Value args = Value::Map{{"count", 2}};
  Request request = MakeRequest(7, "ping_stream", &args);
  request.version = 2;
  request.stream = true;
  request.credit = 262'144;
  request.session_id = "s1";
  request.timeout_ms = 30'000;
  EXPECT_EQ(Frame(Codec::kMessagePack, request),
            FromHex("00 00 00 56  87 a2 69 64 07 a7 63 6f 6d 6d 61 6e 64 ab 70 69 6e 67"
                    "5f 73 74 72 65 61 6d a6 73 74 72 65 61 6d c3 a6 63 72 65 64 69 74"
                    "ce 00 04 00 00 aa 73 65 73 73 69 6f 6e 5f 69 64 a2 73 31 aa 74 69"
                    "6d 65 6f 75 74 5f 6d 73 cd 75 30 a4 61 72 67 73 81 a5 63 6f 75 6e"
                    "74 02"));
}

// 6.12. The members of args are here in the order of their keys, as they may be.
TEST(ExampleOfProtocolTest, LosslessArgs) {
  const Value args = Value::Map{{"b", Bytes{std::string("\xff\0", 2)}},
                                {"x", -std::numeric_limits<double>::infinity()},
                                {"m", Value::Map{{"$a", -0.0}}}};
  Request request = MakeRequest(5, "echo", &args);
  request.version = 2;
  EXPECT_EQ(Payload(Codec::kJson, request),
            "{\"id\":5,\"command\":\"echo\",\"args\":{\"b\":{\"$bytes\":\"/wA=\"},"
            "\"m\":{\"$$a\":-0.0},\"x\":{\"$double\":\"fff0000000000000\"}}}");
  EXPECT_EQ(Frame(Codec::kJson, request).substr(0, kFrameHeaderBytes), FromHex("00 00 00 6c"));
}

TEST(ExampleOfProtocolTest, MessagesThatAreNoRequests) {
  std::string out;
  AppendCancelFrame(Codec::kJson, 7, &out);
  EXPECT_EQ(out, FromHex("00 00 00 18  7b 22 74 79 70 65 22 3a 22 63 61 6e 63 65 6c 22 2c 22"
                         "69 64 22 3a 37 7d"));
  out.clear();
  AppendCancelFrame(Codec::kMessagePack, 7, &out);
  EXPECT_EQ(out, FromHex("00 00 00 11  82 a4 74 79 70 65 a6 63 61 6e 63 65 6c a2 69 64 07"));
  out.clear();
  AppendCreditFrame(Codec::kMessagePack, 7, 131'072, &out);
  EXPECT_EQ(out, FromHex("00 00 00 1c  83 a4 74 79 70 65 a6 63 72 65 64 69 74 a2 69 64 07 a5"
                         "62 79 74 65 73 ce 00 02 00 00"));
  out.clear();
  AppendEndSessionFrame(Codec::kMessagePack, "s1", &out);
  EXPECT_EQ(out, FromHex("00 00 00 20  82 a4 74 79 70 65 ab 65 6e 64 5f 73 65 73 73 69 6f 6e"
                         "aa 73 65 73 73 69 6f 6e 5f 69 64 a2 73 31"));
  out.clear();
  AppendHealthFrame(Codec::kJson, 11, &out);
  EXPECT_EQ(out, FromHex("00 00 00 19  7b 22 74 79 70 65 22 3a 22 68 65 61 6c 74 68 22 2c 22"
                         "69 64 22 3a 31 31 7d"));
  // After what is there already.
  AppendCreditFrame(Codec::kJson, 7, 131'072, &out);
  EXPECT_EQ(out.substr(4 + 0x19 + 4), R"({"type":"credit","id":7,"bytes":131072})");
}

TEST(ExampleOfProtocolTest, Replies) {
  const auto decoded = [](Codec codec, std::string_view hex) {
    return DecodeReply(codec, 2, std::string_view(FromHex(hex)).substr(kFrameHeaderBytes)).value();
  };
  const Reply chunk = decoded(Codec::kJson,
                              "00 00 00 3f  7b 22 69 64 22 3a 37 2c 22 74 79 70 65 22 3a 22 63 68"
                              "75 6e 6b 22 2c 22 69 6e 64 65 78 22 3a 30 2c 22 66 69 6e 61 6c 22"
                              "3a 66 61 6c 73 65 2c 22 63 68 75 6e 6b 22 3a 7b 22 6e 22 3a 31 7d"
                              "7d");
  EXPECT_EQ(chunk.value, Value(Value::Map{{"n", 1}}));
  const Reply last = decoded(Codec::kMessagePack,
                             "00 00 00 1e  84 a2 69 64 07 a4 74 79 70 65 a5 63 68 75 6e 6b a5 69"
                             "6e 64 65 78 01 a5 66 69 6e 61 6c c3");
  EXPECT_EQ(last.chunk_index, 1);
  EXPECT_FALSE(last.has_value);
  const Reply failure = decoded(Codec::kMessagePack,
                                "00 00 00 55  85 a2 69 64 03 a7 73 75 63 63 65 73 73 c2 a5 65 72 72"
                                "6f 72 bd 62 20 69 73 20 61 20 66 69 6e 69 74 65 20 6e 75 6d 62 65"
                                "72 2c 20 6e 6f 74 20 27 78 27 a4 63 6f 64 65 b0 49 4e 56 41 4c 49"
                                "44 5f 41 52 47 55 4d 45 4e 54 ab 64 69 64 5f 6e 6f 74 5f 72 75 6e"
                                "c3");
  EXPECT_EQ(failure.error.ToString(), "INVALID_ARGUMENT: b is a finite number, not 'x'");
  EXPECT_FALSE(failure.error.may_have_run);
}

TEST(DecodeReplyTest, ASuccessHasItsResult) {
  const Result<Reply> reply =
      Decoded(R"({"id":7,"success":true,"result":{"status":"ok"},"timestamp":1.5,"more":[]})");
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->kind, Reply::Kind::kResult);
  EXPECT_EQ(reply->id, 7);
  EXPECT_TRUE(reply->has_value);
  EXPECT_TRUE(reply->final);
  EXPECT_EQ(reply->value, Value(Value::Map{{"status", "ok"}}));
}

TEST(DecodeReplyTest, ANullResultIsAResult) {
  const Result<Reply> reply = Decoded(R"({"id":7,"success":true,"result":null})");
  ASSERT_TRUE(reply.has_value());
  EXPECT_TRUE(reply->has_value);
  EXPECT_TRUE(reply->value.is_null());
}

TEST(DecodeReplyTest, AFailureOfAJavaScriptWorkerHasNoId) {
  const Result<Reply> reply =
      Decoded(R"({"success":false,"error":"Unknown command: undefined","timestamp":"…Z"})");
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->kind, Reply::Kind::kError);
  EXPECT_EQ(reply->id, std::nullopt);
  EXPECT_EQ(reply->error.ToString(), "UNIMPLEMENTED: Unknown command: undefined");
  EXPECT_FALSE(reply->error.may_have_run);
}

TEST(DecodeReplyTest, AFailureOfAHandler) {
  const Result<Reply> reply = Decoded(R"({"id":7,"success":false,"error":"division\nby zero"})");
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->kind, Reply::Kind::kError);
  EXPECT_EQ(reply->id, 7);
  EXPECT_EQ(reply->error.ToString(), "HANDLER_FAILED: division\\nby zero");
  EXPECT_TRUE(reply->error.may_have_run);
  EXPECT_EQ(reply->chunk_index, -1);
}

TEST(DecodeReplyTest, TheCodeOfAVersion2WorkerCounts) {
  const auto code_of = [](const std::string& code) {
    return Decoded(R"({"id":7,"success":false,"error":"Unknown command","code":)" + code + "}")
        ->error.code;
  };
  EXPECT_EQ(code_of("\"UNIMPLEMENTED\""), ErrorCode::kUnimplemented);
  EXPECT_EQ(code_of("\"INVALID_ARGUMENT\""), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of("\"HANDLER_FAILED\""), ErrorCode::kHandlerFailed);
  EXPECT_EQ(code_of("\"DEADLINE_EXCEEDED\""), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(code_of("\"CANCELLED\""), ErrorCode::kCancelled);
  EXPECT_EQ(code_of("\"MESSAGE_TOO_LARGE\""), ErrorCode::kMessageTooLarge);
}

TEST(DecodeReplyTest, ACodeThatIsNotAWorkersToGiveIsHandlerFailed) {
  for (const char* code : {"\"WORKER_LOST\"", "\"QUEUE_FULL\"", "\"NEW_CODE\"", "5", "null"}) {
    const Result<Reply> reply = Decoded(
        std::string(R"({"id":7,"success":false,"error":"Unknown command","code":)") + code + "}");
    EXPECT_EQ(reply->error.code, ErrorCode::kHandlerFailed) << code;
  }
}

TEST(DecodeReplyTest, AFailureOfVersion2MaySayThatTheCommandDidNotRun) {
  const std::string failure =
      R"({"id":3,"success":false,"error":"x","code":"INVALID_ARGUMENT","did_not_run":)";
  EXPECT_FALSE(Decoded(failure + "true}")->error.may_have_run);
  EXPECT_TRUE(Decoded(failure + "false}")->error.may_have_run);
  EXPECT_TRUE(Decoded(failure + "1}")->error.may_have_run);
  EXPECT_TRUE(Decoded(failure + "true}", 1)->error.may_have_run);
  const Result<Reply> stream = Decoded(
      R"({"id":3,"type":"chunk","index":0,"final":true,"success":false,"error":"x","code":"CANCELLED","did_not_run":true})");
  EXPECT_EQ(stream->error.code, ErrorCode::kCancelled);
  EXPECT_FALSE(stream->error.may_have_run);
}

TEST(DecodeReplyTest, OnlyValuesHaveTagsAndOnlyInVersion2) {
  const std::string reply =
      R"({"id":1,"success":true,"result":{"$bytes":"AA=="},"extra":{"$x":1},"timestamp":{"$y":1}})";
  const Result<Reply> v2 = DecodeReply(Codec::kJson, 2, reply);
  ASSERT_TRUE(v2.has_value());
  EXPECT_EQ(v2->value, Value(Bytes{std::string(1, '\0')}));
  const Result<Reply> v1 = DecodeReply(Codec::kJson, 1, reply);
  ASSERT_TRUE(v1.has_value());
  EXPECT_EQ(v1->value, Value(Value::Map{{"$bytes", "AA=="}}));
  const Result<Reply> failure =
      DecodeReply(Codec::kJson, 2, R"({"id":1,"success":false,"error":"x","code":{"$x":1}})");
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->error.code, ErrorCode::kHandlerFailed);
  const Result<Reply> chunk = DecodeReply(
      Codec::kJson, 2,
      R"({"id":1,"type":"chunk","index":0,"final":false,"chunk":{"$double":"7ff0000000000000"}})");
  ASSERT_TRUE(chunk.has_value());
  EXPECT_EQ(chunk->value, Value(std::numeric_limits<double>::infinity()));
}

TEST(DecodeReplyTest, ATagThatIsNoneMakesTheReplyMalformed) {
  const std::string reply = R"({"id":1,"success":true,"result":{"a":{"$x":1}}})";
  const Result<Reply> decoded = DecodeReply(Codec::kJson, 2, reply);
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().code, ErrorCode::kProtocolError);
  EXPECT_NE(decoded.error().message.find("malformed reply: invalid JSON: result.a has the one "
                                         "member \"$x\", which is no tag"),
            std::string::npos)
      << decoded.error().message;
  EXPECT_TRUE(DecodeReply(Codec::kJson, 1, reply).has_value());
}

TEST(DecodeReplyTest, KeysThatAreNoTextAreForVersion1) {
  const std::string reply("\x83\xa2id\x01\xa7success\xc3\xa6result\x81\x05\x01", 24);
  ASSERT_TRUE(DecodeReply(Codec::kMessagePack, 1, reply).has_value());
  EXPECT_EQ(DecodeReply(Codec::kMessagePack, 1, reply)->value, Value(Value::Map{{"5", 1}}));
  EXPECT_EQ(DecodeReply(Codec::kMessagePack, 2, reply).error().code, ErrorCode::kProtocolError);
}

TEST(DecodeReplyTest, Chunks) {
  const Result<Reply> chunk =
      Decoded(R"({"id":7,"type":"chunk","index":3,"final":false,"chunk":{"n":1}})");
  ASSERT_TRUE(chunk.has_value());
  EXPECT_EQ(chunk->kind, Reply::Kind::kChunk);
  EXPECT_EQ(chunk->id, 7);
  EXPECT_EQ(chunk->chunk_index, 3);
  EXPECT_FALSE(chunk->final);
  EXPECT_EQ(chunk->value, Value(Value::Map{{"n", 1}}));

  const Result<Reply> last = Decoded(R"({"id":7,"type":"chunk","index":4,"final":true})");
  ASSERT_TRUE(last.has_value());
  EXPECT_TRUE(last->final);
  EXPECT_FALSE(last->has_value);

  const Result<Reply> error = Decoded(
      R"({"id":7,"type":"chunk","index":4,"final":true,"success":false,"error":"x","code":"CANCELLED"})");
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->kind, Reply::Kind::kError);
  EXPECT_EQ(error->chunk_index, 4);
  EXPECT_EQ(error->error.ToString(), "CANCELLED: x");
  EXPECT_TRUE(error->final);
}

TEST(DecodeReplyTest, MalformedRepliesSayWhatIsWrongAndQuoteTheBytes) {
  EXPECT_EQ(MalformedBy(R"({"id":"7","success":true,"result":1})"),
            "malformed reply: `id` is not an integer, in "
            "\"{\\\"id\\\":\\\"7\\\",\\\"success\\\":true,\\\"result\\\":1}\"");
  EXPECT_NE(MalformedBy(R"({"id":7.0,"success":true,"result":1})").find("`id`"), std::string::npos);
  EXPECT_NE(MalformedBy(R"({"id":true,"success":true,"result":1})").find("`id`"),
            std::string::npos);
  EXPECT_NE(MalformedBy("[1]").find("it is no map"), std::string::npos);
  EXPECT_NE(MalformedBy("{}").find("`success` is not true or false"), std::string::npos);
  EXPECT_NE(MalformedBy(R"({"id":1,"success":1,"result":1})").find("`success`"), std::string::npos);
  EXPECT_NE(MalformedBy(R"({"id":1,"success":true})").find("a success has no `result`"),
            std::string::npos);
  EXPECT_NE(MalformedBy(R"({"id":1,"success":false})").find("a failure has no `error` text"),
            std::string::npos);
  EXPECT_NE(MalformedBy(R"({"id":1,"success":false,"error":{}})").find("no `error` text"),
            std::string::npos);
  EXPECT_NE(MalformedBy(R"({"id":1,"type":"chunk","final":true})").find("`index`"),
            std::string::npos);
  EXPECT_NE(MalformedBy(R"({"id":1,"type":"chunk","index":-1,"final":true})").find("`index`"),
            std::string::npos);
  EXPECT_NE(MalformedBy(R"({"id":1,"type":"chunk","index":0,"chunk":1})").find("`final`"),
            std::string::npos);
  EXPECT_NE(MalformedBy(R"({"id":1,"type":"chunk","index":0,"final":false})").find("no `chunk`"),
            std::string::npos);
}

TEST(DecodeReplyTest, WhatIsNotTheCodecAtAllSaysWhy) {
  const Result<Reply> infinity =
      DecodeReply(Codec::kJson, 1, R"({"id":7,"success":true,"result":Infinity})");
  ASSERT_FALSE(infinity.has_value());
  EXPECT_EQ(infinity.error().code, ErrorCode::kProtocolError);
  EXPECT_NE(infinity.error().message.find("Infinity is not a JSON value at byte 32"),
            std::string::npos);
  const Result<Reply> json = DecodeReply(Codec::kMessagePack, 1, R"({"id":7})");
  ASSERT_FALSE(json.has_value());
  EXPECT_EQ(json.error().code, ErrorCode::kProtocolError);
}

TEST(DecodeReplyTest, AResultNested64DeepFitsInItsReply) {
  Value value = 1;
  for (int i = 0; i < 64; ++i) value = Value::Array{std::move(value)};
  const Value reply = Value::Map{{"id", 1}, {"success", true}, {"result", value}};
  for (const Codec codec : kCodecs) {
    std::string payload;
    ASSERT_TRUE(Encode(codec, 1, reply, &payload, "reply", 65).has_value());
    for (const int version : {1, 2}) {
      const Result<Reply> decoded = DecodeReply(codec, version, payload);
      ASSERT_TRUE(decoded.has_value());
      EXPECT_EQ(decoded->value, value);
    }
  }
}

TEST(DecodeReplyTest, AFailureWithoutAReasonSaysWhereOneMayBe) {
  for (const int version : {1, 2}) {
    const auto reply = DecodeReply(Codec::kJson, version, R"({"id":1,"success":false,"error":""})");
    ASSERT_TRUE(reply) << reply.error().ToString();
    EXPECT_EQ(reply->error.code, ErrorCode::kHandlerFailed);
    EXPECT_EQ(reply->error.message, kNoReason);
  }
  EXPECT_EQ(LegacyResultError(Value::Map{{"status", "error"}, {"error", ""}})->message, kNoReason);
}

TEST(LegacyErrorTest, ResultsThatAreErrorsInside) {
  const Value unknown = Value::Map{{"status", "error"},
                                   {"error", "Unknown command: None"},
                                   {"supported_commands", Value::Array{"ping"}}};
  ASSERT_TRUE(LegacyResultError(unknown).has_value());
  EXPECT_EQ(LegacyResultError(unknown)->ToString(), "UNIMPLEMENTED: Unknown command: None");
  EXPECT_FALSE(LegacyResultError(unknown)->may_have_run);
  const Value failed = Value::Map{{"status", "error"}, {"error", "Division by zero"}};
  ASSERT_TRUE(LegacyResultError(failed).has_value());
  EXPECT_EQ(LegacyResultError(failed)->ToString(), "HANDLER_FAILED: Division by zero");
  EXPECT_TRUE(LegacyResultError(failed)->may_have_run);
}

TEST(LegacyErrorTest, OtherResultsAreNoErrors) {
  EXPECT_FALSE(LegacyResultError(Value::Map{{"status", "ok"}, {"error", "x"}}).has_value());
  EXPECT_FALSE(LegacyResultError(Value::Map{{"status", "error"}}).has_value());
  EXPECT_FALSE(LegacyResultError(Value::Map{{"status", "error"}, {"error", 5}}).has_value());
  EXPECT_FALSE(LegacyResultError("error").has_value());
}

TEST(LegacyErrorTest, UnknownCommandInAnyCase) {
  EXPECT_EQ(LegacyErrorCode("unknown COMMAND x"), ErrorCode::kUnimplemented);
  EXPECT_EQ(LegacyErrorCode("Unknown comman"), ErrorCode::kHandlerFailed);
  EXPECT_EQ(LegacyErrorCode("an unknown command"), ErrorCode::kHandlerFailed);
  EXPECT_EQ(LegacyErrorCode(""), ErrorCode::kHandlerFailed);
}

}  // namespace
}  // namespace snakepit
