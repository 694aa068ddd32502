#include "src/wire/message.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "src/value/value_gen.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"

namespace snakepit {
namespace {

constexpr size_t kLimit = 1 << 20;
constexpr Codec kCodecs[] = {Codec::kJson, Codec::kMessagePack};

// The payload of an encoded request, or the error.
std::string Payload(Codec codec, const Request& request, size_t limit = kLimit) {
  std::string out;
  const Result<void> result = EncodeRequestFrame(codec, request, limit, &out);
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
Result<Reply> Decoded(const std::string& json) {
  std::string payload;
  EXPECT_TRUE(Encode(Codec::kMessagePack, DecodeJson(json).value(), &payload).has_value());
  const Result<Reply> from_json = DecodeReply(Codec::kJson, json);
  const Result<Reply> from_msgpack = DecodeReply(Codec::kMessagePack, payload);
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
  request.session_id = "s";
  request.timeout_ms = 1500;
  for (const Codec codec : kCodecs) {
    request.version = 1;
    EXPECT_EQ(Decode(codec, Payload(codec, request)).value(),
              Value(Value::Map{{"id", 1}, {"command", "c"}, {"args", Value::Map{}}}));
    request.version = 2;
    EXPECT_EQ(Decode(codec, Payload(codec, request)).value(),
              Value(Value::Map{{"id", 1},
                               {"command", "c"},
                               {"args", Value::Map{}},
                               {"stream", true},
                               {"session_id", "s"},
                               {"timeout_ms", 1500}}));
  }
  Request plain = MakeRequest(1, "c");
  plain.version = 2;
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
  EXPECT_FALSE(EncodeRequestFrame(Codec::kJson, MakeRequest(1, "c", &bad), kLimit, &out));
  EXPECT_FALSE(EncodeRequestFrame(Codec::kJson, MakeRequest(1, "c"), 10, &out));
  EXPECT_EQ(out, "kept");
}

RC_GTEST_PROP(EncodeRequestPropertyTest, AnyArgumentsArriveEqual, ()) {
  ValueGenOptions options;
  options.bytes = false;
  options.non_finite = false;
  const Value args = *GenMap(options);
  const std::string command = *GenText();
  for (const Codec codec : kCodecs) {
    const Result<Value> request = Decode(codec, Payload(codec, MakeRequest(9, command, &args)));
    RC_ASSERT(request.has_value());
    RC_ASSERT(*request == Value(Value::Map{{"id", 9}, {"command", command}, {"args", args}}));
  }
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
  EXPECT_NE(MalformedBy("[1]").find("it is not a map"), std::string::npos);
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
      DecodeReply(Codec::kJson, R"({"id":7,"success":true,"result":Infinity})");
  ASSERT_FALSE(infinity.has_value());
  EXPECT_EQ(infinity.error().code, ErrorCode::kProtocolError);
  EXPECT_NE(infinity.error().message.find("Infinity is not a JSON value at byte 32"),
            std::string::npos);
  const Result<Reply> json = DecodeReply(Codec::kMessagePack, R"({"id":7})");
  ASSERT_FALSE(json.has_value());
  EXPECT_EQ(json.error().code, ErrorCode::kProtocolError);
}

TEST(DecodeReplyTest, AResultNested64DeepFitsInItsReply) {
  Value value = 1;
  for (int i = 0; i < 64; ++i) value = Value::Array{std::move(value)};
  const Value reply = Value::Map{{"id", 1}, {"success", true}, {"result", value}};
  for (const Codec codec : kCodecs) {
    std::string payload;
    ASSERT_TRUE(Encode(codec, reply, &payload, "reply", 65).has_value());
    const Result<Reply> decoded = DecodeReply(codec, payload);
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(decoded->value, value);
  }
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
