#include "src/wire/worker_side/message.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "src/value/utf8.h"
#include "src/value/value_gen.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"
#include "src/wire/msgpack.h"
#include "src/wire/pool_side/message.h"
#include "src/wire/testing/from_hex.h"

namespace snakepit {
namespace {

constexpr size_t kLimit = 1 << 20;
constexpr Codec kCodecs[] = {Codec::kJson, Codec::kMessagePack};

std::string_view PayloadOf(std::string_view frame) { return frame.substr(kFrameHeaderBytes); }

Agreement Agreed(Codec codec, int version) {
  return {.codec = codec, .version = version, .stream = version >= 2, .session = version >= 2};
}

// Decodes a message given as JSON from either codec; both must agree.
tl::expected<PoolMessage, BadMessage> Decoded(const std::string& json, int version = 2) {
  std::string payload;
  EXPECT_TRUE(EncodeMsgpack(DecodeJson(json).value(), &payload).has_value());
  auto from_json = DecodePoolMessage(Agreed(Codec::kJson, version), json);
  const auto from_msgpack = DecodePoolMessage(Agreed(Codec::kMessagePack, version), payload);
  EXPECT_EQ(from_json.has_value(), from_msgpack.has_value()) << json;
  if (from_json && from_msgpack) {
    EXPECT_EQ(from_json->kind, from_msgpack->kind);
    EXPECT_EQ(from_json->id, from_msgpack->id);
    EXPECT_EQ(from_json->args, from_msgpack->args);
  } else if (!from_json && !from_msgpack) {
    EXPECT_EQ(from_json.error().id, from_msgpack.error().id) << json;
  }
  return from_json;
}

// The id to answer with, and then the fault without the quoted text.
std::string FaultOf(const tl::expected<PoolMessage, BadMessage>& message) {
  if (message) return "none";
  const BadMessage& bad = message.error();
  EXPECT_EQ(bad.error.code, ErrorCode::kInvalidArgument);
  const std::string& text = bad.error.message;
  return (bad.id ? std::to_string(*bad.id) : "null") + ": " + text.substr(0, text.find(", in \""));
}

std::string FaultOf(const std::string& json, int version = 2) {
  return FaultOf(Decoded(json, version));
}

// --- Requests ----------------------------------------------------------------------------------

TEST(PoolMessageTest, ARequestHasItsMembers) {
  const auto request = Decoded(
      R"({"id":7,"command":"ping_stream","args":{"count":2},"stream":true,"credit":262144,"session_id":"s1","timeout_ms":30000,"timestamp":"x","more":[]})");
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->kind, PoolMessage::Kind::kRequest);
  EXPECT_EQ(request->id, 7);
  EXPECT_EQ(request->command, "ping_stream");
  EXPECT_EQ(request->args, Value(Value::Map{{"count", 2}}));
  EXPECT_TRUE(request->stream);
  EXPECT_EQ(request->credit, 262'144);
  EXPECT_EQ(request->session_id, "s1");
  EXPECT_EQ(request->timeout_ms, 30'000);
}

TEST(PoolMessageTest, WhatIsAbsentIsNothing) {
  for (const char* json : {R"({"id":1,"command":"c"})", R"({"id":1,"command":"c","args":null})"}) {
    const auto request = Decoded(json);
    ASSERT_TRUE(request.has_value());
    EXPECT_EQ(request->args, Value(Value::Map{}));
    EXPECT_FALSE(request->stream);
    EXPECT_EQ(request->credit, std::nullopt);
    EXPECT_EQ(request->session_id, "");
    EXPECT_EQ(request->timeout_ms, 0);
  }
}

TEST(PoolMessageTest, ATimeLimitMayHavePassed) {
  EXPECT_EQ(Decoded(R"({"id":1,"command":"c","timeout_ms":-5})")->timeout_ms, -5);
}

TEST(PoolMessageTest, WhatBelongsToAFeatureThatWasNotAgreedIsIgnored) {
  const Agreement neither = {.version = 2};
  const auto request =
      DecodePoolMessage(neither, R"({"id":1,"command":"c","stream":5,"credit":0,"session_id":""})");
  ASSERT_TRUE(request.has_value());
  EXPECT_FALSE(request->stream || request->credit || !request->session_id.empty());
  for (const char* message : {R"({"type":"credit"})", R"({"type":"end_session"})"}) {
    EXPECT_EQ(DecodePoolMessage(neither, message)->kind, PoolMessage::Kind::kUnknown);
  }
}

TEST(PoolMessageTest, CreditIsForStreams) {
  EXPECT_EQ(Decoded(R"({"id":1,"command":"c","credit":5})")->credit, std::nullopt);
  EXPECT_EQ(Decoded(R"({"id":1,"command":"c","credit":5,"stream":false})")->credit, std::nullopt);
}

TEST(PoolMessageTest, InVersion1EveryMapIsARequestWithoutWhatVersion2Has) {
  const auto request = Decoded(
      R"({"id":7,"type":"cancel","command":"c","args":{"$x":1},"stream":true,"credit":0,"session_id":5,"timeout_ms":"x"})",
      1);
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->kind, PoolMessage::Kind::kRequest);
  EXPECT_EQ(request->args, Value(Value::Map{{"$x", 1}}));
  EXPECT_FALSE(request->stream);
  EXPECT_EQ(request->session_id, "");
  EXPECT_EQ(request->timeout_ms, 0);
  EXPECT_EQ(FaultOf(R"({"id":7,"type":"cancel"})", 1),
            "7: malformed message: `command` is not a text");
}

TEST(PoolMessageTest, ARequestThatIsNoneSaysWhyAndKeepsItsId) {
  const std::pair<const char*, const char*> cases[] = {
      {"{}", "null: malformed message: `id` is not an integer from 1 to 2^53 - 1"},
      {R"({"id":"7","command":"c"})",
       "null: malformed message: `id` is not an integer from 1 to 2^53 - 1"},
      {R"({"id":1.0,"command":"c"})",
       "null: malformed message: `id` is not an integer from 1 to 2^53 - 1"},
      {R"({"id":0,"command":"c"})",
       "0: malformed message: `id` is not an integer from 1 to 2^53 - 1"},
      {R"({"id":9007199254740992,"command":"c"})",
       "9007199254740992: malformed message: `id` is not an integer from 1 to 2^53 - 1"},
      {R"({"id":7})", "7: malformed message: `command` is not a text"},
      {R"({"id":7,"command":null})", "7: malformed message: `command` is not a text"},
      {R"({"id":7,"command":"c","args":[]})", "7: malformed message: `args` is not a map"},
      {R"({"id":7,"command":"c","stream":1})",
       "7: malformed message: `stream` is not true or false"},
      {R"({"id":7,"command":"c","stream":true,"credit":0})",
       "7: malformed message: `credit` is not an integer from 1 to 2147483647"},
      {R"({"id":7,"command":"c","stream":true,"credit":2147483648})",
       "7: malformed message: `credit` is not an integer from 1 to 2147483647"},
      {R"({"id":7,"command":"c","session_id":""})",
       "7: malformed message: `session_id` is not a text of 1 to 256 bytes"},
      {R"({"id":7,"command":"c","session_id":null})",
       "7: malformed message: `session_id` is not a text of 1 to 256 bytes"},
      {R"({"id":7,"command":"c","timeout_ms":1.5})",
       "7: malformed message: `timeout_ms` is not an integer"},
  };
  for (const auto& [json, fault] : cases) EXPECT_EQ(FaultOf(json), fault) << json;
  const std::string session(257, 's');
  EXPECT_NE(FaultOf(R"({"id":7,"command":"c","session_id":")" + session + "\"}"), "none");
  EXPECT_EQ(FaultOf(R"({"id":7,"command":"c","session_id":")" + session.substr(1) + "\"}"), "none");
  EXPECT_EQ(FaultOf(R"({"id":9007199254740991,"command":"c"})"), "none");
}

TEST(PoolMessageTest, WhatIsNoMessageAtAllHasNoId) {
  EXPECT_EQ(FaultOf("[1]").substr(0, 4), "null");
  EXPECT_EQ(FaultOf("5").substr(0, 4), "null");
  for (const Codec codec : kCodecs) {
    EXPECT_EQ(FaultOf(DecodePoolMessage(Agreed(codec, 2), "")).substr(0, 4), "null");
    EXPECT_EQ(FaultOf(DecodePoolMessage(Agreed(codec, 2), "hello")).substr(0, 4), "null");
  }
}

TEST(PoolMessageTest, TheIdIsReadFromARequestWhoseArgsAreNot) {
  EXPECT_EQ(
      FaultOf(DecodePoolMessage(Agreed(Codec::kJson, 2),
                                R"({"args":{"a":{"$x":1}},"id":7,"command":"c"})")),
      "7: malformed message: invalid JSON: args.a has the one member \"$x\", which is no tag");
  const std::string bin_key = FromHex(
      "83 a2 69 64 07 a7 63 6f 6d 6d 61 6e 64 a1 63"
      "a4 61 72 67 73 81 c4 01 6b 01");
  EXPECT_EQ(FaultOf(DecodePoolMessage(Agreed(Codec::kMessagePack, 2), bin_key)),
            "7: malformed message: invalid MessagePack: a map's key is not text at byte 21");
  EXPECT_EQ(DecodePoolMessage(Agreed(Codec::kMessagePack, 1), bin_key)->args,
            Value(Value::Map{{"k", 1}}));
}

// --- Other messages ----------------------------------------------------------------------------

TEST(PoolMessageTest, MessagesThatAreNoRequests) {
  for (const Codec codec : kCodecs) {
    std::string frame;
    AppendCancelFrame(codec, 7, &frame);
    auto message = DecodePoolMessage(Agreed(codec, 2), PayloadOf(frame));
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->kind, PoolMessage::Kind::kCancel);
    EXPECT_EQ(message->id, 7);

    frame.clear();
    AppendCreditFrame(codec, 8, 131'072, &frame);
    message = DecodePoolMessage(Agreed(codec, 2), PayloadOf(frame));
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->kind, PoolMessage::Kind::kCredit);
    EXPECT_EQ(message->id, 8);
    EXPECT_EQ(message->credit, 131'072);

    frame.clear();
    AppendEndSessionFrame(codec, "s\n1", &frame);
    message = DecodePoolMessage(Agreed(codec, 2), PayloadOf(frame));
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->kind, PoolMessage::Kind::kEndSession);
    EXPECT_EQ(message->session_id, "s\n1");

    frame.clear();
    AppendHealthFrame(codec, 9, &frame);
    message = DecodePoolMessage(Agreed(codec, 2), PayloadOf(frame));
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->kind, PoolMessage::Kind::kHealth);
    EXPECT_EQ(message->id, 9);
  }
  const auto info = Decoded(R"({"type":"info","id":12})");
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->kind, PoolMessage::Kind::kInfo);
  EXPECT_EQ(info->id, 12);
}

TEST(PoolMessageTest, AnUnknownTypeIsUnknownWhateverElseThereIs) {
  for (const char* json : {R"({"type":"later","id":"x","command":5})", R"({"type":5,"id":1})",
                           R"({"type":null,"id":1,"command":"c"})"}) {
    const auto message = Decoded(json);
    ASSERT_TRUE(message.has_value()) << json;
    EXPECT_EQ(message->kind, PoolMessage::Kind::kUnknown) << json;
  }
}

// A failure with the id would end the call of that id.
TEST(PoolMessageTest, AMessageThatIsNoRequestIsNotAnsweredByItsId) {
  EXPECT_EQ(FaultOf(R"({"type":"credit","id":7,"bytes":0})"),
            "null: malformed message: `bytes` is not an integer from 1 to 2147483647");
  EXPECT_EQ(FaultOf(R"({"type":"credit","id":7})").substr(0, 4), "null");
  EXPECT_EQ(FaultOf(R"({"type":"credit","id":0,"bytes":5})").substr(0, 4), "null");
  EXPECT_EQ(FaultOf(R"({"type":"cancel","id":0})").substr(0, 4), "null");
  EXPECT_EQ(FaultOf(R"({"type":"end_session","id":7})").substr(0, 4), "null");
  EXPECT_EQ(FaultOf(DecodePoolMessage(Agreed(Codec::kJson, 2),
                                      R"({"type":"credit","id":7,"bytes":1,"args":{"$x":1}})"))
                .substr(0, 4),
            "null");
  // These are answered.
  EXPECT_EQ(FaultOf(R"({"type":"health","id":0})").substr(0, 2), "0:");
  EXPECT_EQ(FaultOf(R"({"type":"info"})").substr(0, 4), "null");
}

RC_GTEST_PROP(PoolMessagePropertyTest, WhatThePoolSendsTheWorkerReads, ()) {
  const Value args = *GenMap(ValueGenOptions{});
  const std::string command = *GenText();
  std::string session_id = *rc::gen::resize(10, GenText());
  if (session_id.size() > 256) session_id.clear();
  const int64_t credit = *rc::gen::inRange<int64_t>(0, INT64_C(1) << 31);
  const int64_t timeout_ms = *rc::gen::inRange<int64_t>(0, INT64_MAX);
  const bool stream = *rc::gen::arbitrary<bool>();
  const auto id = *rc::gen::inRange<uint64_t>(1, UINT64_C(1) << 53);
  for (const Codec codec : kCodecs) {
    const Request request{.id = id,
                          .command = command,
                          .args = &args,
                          .version = 2,
                          .stream = stream,
                          .credit = credit,
                          .session_id = session_id,
                          .timeout_ms = timeout_ms};
    std::string frame;
    RC_ASSERT(
        EncodeRequestFrame(codec, request, {.max_bytes = SIZE_MAX >> 40}, &frame).has_value());
    const auto message = DecodePoolMessage(Agreed(codec, 2), PayloadOf(frame));
    RC_ASSERT(message.has_value());
    RC_ASSERT(message->kind == PoolMessage::Kind::kRequest);
    RC_ASSERT(message->id == static_cast<int64_t>(id));
    RC_ASSERT(message->command == command);
    RC_ASSERT(SameBits(message->args, args));
    RC_ASSERT(message->stream == stream);
    RC_ASSERT(message->credit.value_or(0) == (stream ? credit : 0));
    RC_ASSERT(message->session_id == session_id);
    RC_ASSERT(message->timeout_ms == timeout_ms);
  }
}

// --- Replies -----------------------------------------------------------------------------------

std::string ResultFrame(Codec codec, int version, const Value& result, size_t limit = kLimit) {
  std::string out;
  const Result<void> encoded = EncodeResultFrame(codec, version, 1, result, limit, &out);
  return encoded ? out : encoded.error().ToString();
}

std::string FailureFrame(Codec codec, int version, std::optional<int64_t> id, const Error& error,
                         int64_t chunk_index = -1, size_t limit = kLimit) {
  std::string out = "kept";
  EncodeFailureFrame(codec, version, id, error, chunk_index, limit, &out);
  EXPECT_EQ(out.substr(0, 4), "kept");
  return out.substr(4);
}

Error MakeError(ErrorCode code, std::string message, bool may_have_run = true) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  error.may_have_run = may_have_run;
  return error;
}

TEST(WorkerReplyTest, TheExamplesOfTheProtocol) {
  const Value ok = Value::Map{{"status", "ok"}};
  EXPECT_EQ(ResultFrame(Codec::kJson, 2, ok),
            FromHex("00 00 00 30  7b 22 69 64 22 3a 31 2c 22 73 75 63 63 65 73 73 22 3a"
                    "74 72 75 65 2c 22 72 65 73 75 6c 74 22 3a 7b 22 73 74 61 74 75 73"
                    "22 3a 22 6f 6b 22 7d 7d"));
  EXPECT_EQ(ResultFrame(Codec::kMessagePack, 2, ok),
            FromHex("00 00 00 20  83  a2 69 64 01  a7 73 75 63 63 65 73 73 c3"
                    "a6 72 65 73 75 6c 74 81 a6 73 74 61 74 75 73 a2 6f 6b"));
  std::string out;
  size_t bytes = 0;
  const Value n = Value::Map{{"n", 1}};
  ASSERT_TRUE(EncodeChunkFrame(Codec::kJson, 7, 0, false, &n, kLimit, &out, &bytes).has_value());
  EXPECT_EQ(out, FromHex("00 00 00 3f  7b 22 69 64 22 3a 37 2c 22 74 79 70 65 22 3a 22 63 68"
                         "75 6e 6b 22 2c 22 69 6e 64 65 78 22 3a 30 2c 22 66 69 6e 61 6c 22"
                         "3a 66 61 6c 73 65 2c 22 63 68 75 6e 6b 22 3a 7b 22 6e 22 3a 31 7d"
                         "7d"));
  EXPECT_EQ(bytes, 0x3fu);
  out.clear();
  ASSERT_TRUE(
      EncodeChunkFrame(Codec::kMessagePack, 7, 1, true, nullptr, kLimit, &out, &bytes).has_value());
  EXPECT_EQ(out, FromHex("00 00 00 1e  84 a2 69 64 07 a4 74 79 70 65 a5 63 68 75 6e 6b a5 69"
                         "6e 64 65 78 01 a5 66 69 6e 61 6c c3"));
  EXPECT_EQ(bytes, 0u);
  EXPECT_EQ(
      FailureFrame(Codec::kMessagePack, 2, 3,
                   MakeError(ErrorCode::kInvalidArgument, "b is a finite number, not 'x'", false)),
      FromHex("00 00 00 55  85 a2 69 64 03 a7 73 75 63 63 65 73 73 c2 a5 65 72 72"
              "6f 72 bd 62 20 69 73 20 61 20 66 69 6e 69 74 65 20 6e 75 6d 62 65"
              "72 2c 20 6e 6f 74 20 27 78 27 a4 63 6f 64 65 b0 49 4e 56 41 4c 49"
              "44 5f 41 52 47 55 4d 45 4e 54 ab 64 69 64 5f 6e 6f 74 5f 72 75 6e"
              "c3"));
  EXPECT_EQ(PayloadOf(FailureFrame(Codec::kJson, 2, 9,
                                   MakeError(ErrorCode::kHandlerFailed, "no row 2"), 1)),
            R"({"id":9,"type":"chunk","index":1,"final":true,"success":false,)"
            R"("error":"no row 2","code":"HANDLER_FAILED"})");
}

// Some pools drop what begins as a map of three: 83. PROTOCOL.md 2.4.8.
TEST(WorkerReplyTest, RepliesOfVersion1HaveATimestampAndNoCode) {
  const Error error = MakeError(ErrorCode::kInvalidArgument, "not so", false);
  for (const Codec codec : kCodecs) {
    for (const std::string& frame : {ResultFrame(codec, 1, 5), FailureFrame(codec, 1, 9, error),
                                     FailureFrame(codec, 1, std::nullopt, error)}) {
      if (codec == Codec::kMessagePack) {
        EXPECT_EQ(frame[kFrameHeaderBytes], '\x84');
      }
      const Value message = Decode(codec, 1, PayloadOf(frame)).value();
      EXPECT_EQ(message.get_if<Value::Map>()->size(), 4u);
      const std::string_view timestamp = message.TextAt("timestamp");
      EXPECT_EQ(timestamp.size(), std::string_view("2026-01-31T12:00:00Z").size()) << timestamp;
      EXPECT_EQ(timestamp.substr(0, 2), "20");
    }
  }
  EXPECT_EQ(ResultFrame(Codec::kMessagePack, 2, 5)[kFrameHeaderBytes], '\x83');
}

TEST(WorkerReplyTest, AFailureWithoutAnIdSaysNull) {
  const Error error = MakeError(ErrorCode::kInvalidArgument, "x");
  EXPECT_EQ(PayloadOf(FailureFrame(Codec::kJson, 2, std::nullopt, error)),
            R"({"id":null,"success":false,"error":"x","code":"INVALID_ARGUMENT"})");
  const std::string frame = FailureFrame(Codec::kMessagePack, 2, std::nullopt, error);
  EXPECT_EQ(DecodeReply(Codec::kMessagePack, 2, PayloadOf(frame))->id, std::nullopt);
}

TEST(WorkerReplyTest, DidNotRunIsSaidWhereItIsNews) {
  const auto says = [](ErrorCode code, bool may_have_run) {
    return FailureFrame(Codec::kJson, 2, 1, MakeError(code, "x", may_have_run))
               .find("\"did_not_run\":true") != std::string::npos;
  };
  EXPECT_TRUE(says(ErrorCode::kCancelled, false));
  EXPECT_FALSE(says(ErrorCode::kCancelled, true));
  EXPECT_FALSE(says(ErrorCode::kUnimplemented, false));
  EXPECT_FALSE(says(ErrorCode::kHandlerFailed, false));
  EXPECT_FALSE(says(ErrorCode::kInternal, false));  // becomes HANDLER_FAILED
}

TEST(WorkerReplyTest, ACodeThatIsNotAWorkersBecomesHandlerFailed) {
  const std::string frame = FailureFrame(Codec::kJson, 2, 1, MakeError(ErrorCode::kInternal, "x"));
  EXPECT_NE(frame.find(R"("code":"HANDLER_FAILED")"), std::string::npos);
}

TEST(WorkerReplyTest, AMessageThatIsNotUtf8IsRepaired) {
  const std::string frame =
      FailureFrame(Codec::kMessagePack, 2, 1, MakeError(ErrorCode::kHandlerFailed, "a\xff!"));
  EXPECT_EQ(DecodeReply(Codec::kMessagePack, 2, PayloadOf(frame))->error.message, "a\uFFFD!");
}

TEST(WorkerReplyTest, AMessageThatIsTooLongIsCutToFit) {
  for (const char* unit : {"x", "é", "\x01", "😀"}) {
    std::string text;
    for (int i = 0; i < 5000; ++i) text += unit;
    for (const Codec codec : kCodecs) {
      const std::string frame =
          FailureFrame(codec, 2, 1, MakeError(ErrorCode::kHandlerFailed, text), 5, 1024);
      // No more is cut than the last character could have needed.
      EXPECT_LE(frame.size(), 1024u + kFrameHeaderBytes);
      EXPECT_GT(frame.size(), 1024u + kFrameHeaderBytes - 6);
      const Result<Value> reply = Decode(codec, 2, PayloadOf(frame));
      ASSERT_TRUE(reply.has_value());
      EXPECT_TRUE(text.starts_with(reply->TextAt("error")));
    }
  }
}

TEST(WorkerReplyTest, AValueThatCannotBeSentIsTheHandlersFailure) {
  const Value bad = Value::Map{{"items", Value::Array{Bytes{"x"}}}};
  EXPECT_EQ(ResultFrame(Codec::kJson, 1, bad),
            "HANDLER_FAILED: result.items[0] is bytes, which JSON cannot hold");
  EXPECT_EQ(ResultFrame(Codec::kMessagePack, 2, Value::Array{"\xff"}),
            "HANDLER_FAILED: result[0] is a text that is not UTF-8");
  EXPECT_EQ(ResultFrame(Codec::kJson, 2, 5, 10),
            "MESSAGE_TOO_LARGE: a message of 34 bytes is over the limit of 10");
  std::string out = "kept";
  size_t bytes = 1;
  const Value text = "\xff";
  EXPECT_EQ(
      EncodeChunkFrame(Codec::kJson, 1, 0, true, &text, kLimit, &out, &bytes).error().ToString(),
      "HANDLER_FAILED: chunk is a text that is not UTF-8");
  EXPECT_TRUE(EncodeResultFrame(Codec::kJson, 1, 1, bad, kLimit, &out).error().may_have_run);
  EXPECT_TRUE(EncodeResultFrame(Codec::kJson, 1, 1, 5, 10, &out).error().may_have_run);
  EXPECT_EQ(out, "kept");
}

RC_GTEST_PROP(WorkerReplyPropertyTest, WhatTheWorkerSendsThePoolReads, ()) {
  const Value value = *GenAnyValue();
  const auto id = *rc::gen::inRange<int64_t>(1, INT64_C(1) << 53);
  const auto index = *rc::gen::inRange<int64_t>(0, INT64_MAX);
  const bool final = *rc::gen::arbitrary<bool>();
  for (const Codec codec : kCodecs) {
    std::string frame;
    RC_ASSERT(EncodeResultFrame(codec, 2, id, value, SIZE_MAX >> 40, &frame).has_value());
    const Result<Reply> result = DecodeReply(codec, 2, PayloadOf(frame));
    RC_ASSERT(result.has_value());
    RC_ASSERT(result->kind == Reply::Kind::kResult && result->id == id && result->final);
    RC_ASSERT(result->has_value && SameBits(result->value, value));

    frame.clear();
    size_t bytes = 0;
    RC_ASSERT(EncodeChunkFrame(codec, id, index, final, &value, SIZE_MAX >> 40, &frame, &bytes)
                  .has_value());
    RC_ASSERT(bytes == PayloadOf(frame).size());
    const Result<Reply> chunk = DecodeReply(codec, 2, PayloadOf(frame));
    RC_ASSERT(chunk.has_value());
    RC_ASSERT(chunk->kind == Reply::Kind::kChunk && chunk->id == id && chunk->final == final);
    RC_ASSERT(chunk->chunk_index == index);
    RC_ASSERT(chunk->has_value && SameBits(chunk->value, value));
  }
}

RC_GTEST_PROP(WorkerReplyPropertyTest, WhatTheWorkerReportsThePoolReads, ()) {
  const ErrorCode code = *rc::gen::element(ErrorCode::kUnimplemented, ErrorCode::kInvalidArgument,
                                           ErrorCode::kHandlerFailed, ErrorCode::kDeadlineExceeded,
                                           ErrorCode::kCancelled, ErrorCode::kMessageTooLarge);
  const bool ran = code == ErrorCode::kHandlerFailed ||
                   (code != ErrorCode::kUnimplemented && *rc::gen::arbitrary<bool>());
  const auto index = *rc::gen::inRange<int64_t>(-1, 5);
  for (const Codec codec : kCodecs) {
    const std::string frame = FailureFrame(codec, 2, 3, MakeError(code, "text", ran), index);
    const Result<Reply> reply = DecodeReply(codec, 2, PayloadOf(frame));
    RC_ASSERT(reply.has_value());
    RC_ASSERT(reply->kind == Reply::Kind::kError && reply->final && reply->id == 3);
    RC_ASSERT(reply->error.code == code);
    RC_ASSERT(reply->error.message == "text");
    RC_ASSERT(reply->error.may_have_run == ran);
    RC_ASSERT(reply->chunk_index == index);
  }
}

}  // namespace
}  // namespace snakepit
