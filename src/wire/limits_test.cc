// Limits on decoding and encoding: in every codec, and in every message of values.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <new>
#include <stop_token>
#include <string>
#include <vector>

#include "src/base/quote.h"
#include "src/value/decode_budget.h"
#include "src/value/encode_limits.h"
#include "src/value/memory.h"
#include "src/value/utf8.h"
#include "src/value/value_gen.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"
#include "src/wire/msgpack.h"
#include "src/wire/pool_side/message.h"
#include "src/wire/proto_map.h"
#include "src/wire/worker_side/message.h"

namespace snakepit {
namespace {

const std::vector<Codec> kCodecs = {Codec::kJson, Codec::kMessagePack};
constexpr std::chrono::steady_clock::time_point kPast{};

std::string Encoded(Codec codec, const Value& value) {
  std::string out;
  EXPECT_TRUE(Encode(codec, 2, value, &out, "value", kMaxNesting + 1));
  return out;
}

ErrorCode CodeOf(const Result<Value>& result) {
  EXPECT_FALSE(result);
  return result ? ErrorCode::kInternal : result.error().code;
}

std::stop_token Stopped() {
  std::stop_source source;
  source.request_stop();
  return source.get_token();
}

// --- Decoding -----------------------------------------------------------------------------------

TEST(DecodeLimitsTest, TheDefaultIsEightTimesTheMessageButNotUnder512MiB) {
  EXPECT_EQ(DecodedLimit(0, 64u << 20), 512u << 20);
  EXPECT_EQ(DecodedLimit(0, 1024), 512u << 20);
  EXPECT_EQ(DecodedLimit(0, size_t{1} << 30), size_t{8} << 30);
  EXPECT_EQ(DecodedLimit(65'536, size_t{1} << 30), 65'536u);
}

TEST(DecodeLimitsTest, AnArrayIsRefusedBeforeItsMemoryIsTaken) {
  const std::string bytes = std::string("\xdd\x01\x00\x00\x00", 5) + std::string(1 << 24, '\xc0');
  const auto value =
      DecodeMsgpack(bytes, MapKeys::kText, kMaxNesting, {.max_bytes = size_t{128} << 20});
  EXPECT_EQ(CodeOf(value), ErrorCode::kMessageTooLarge);
}

RC_GTEST_PROP(DecodeLimitsPropertyTest, NoMoreIsDecodedThanTheLimitAndNearlyThatMuchIs, ()) {
  const Value value = *GenAnyValue();
  const Codec codec = *rc::gen::elementOf(kCodecs);
  const std::string payload = Encoded(codec, value);
  const size_t needed = MemoryBytes(value);
  const auto limit = *rc::gen::inRange<size_t>(1, 3 * needed);
  const Result<Value> decoded = Decode(codec, 2, payload, kMaxNesting, {.max_bytes = limit});
  if (decoded) {
    RC_ASSERT(MemoryBytes(*decoded) <= limit);
    RC_ASSERT(SameBits(*decoded, value));
  } else {
    RC_ASSERT(decoded.error().code == ErrorCode::kMessageTooLarge);
    RC_ASSERT(decoded.error().message.find("max_decoded_bytes of " + std::to_string(limit)) !=
              std::string::npos);
    // Long keys and bytes in base64 are counted generously.
    RC_ASSERT(limit < 2 * needed);
  }
}

TEST(DecodeLimitsTest, TheTimeEndsTheDecodingOfMuchAndNotOfLittle) {
  for (const Codec codec : kCodecs) {
    for (const Value& large :
         {Value(Value::Array(100'000)), Value(Value::Array(10'000, Value("text"))),
          Value(std::string(1 << 20, 'x')), Value(Value::Array(10'000, Value(Value::Map())))}) {
      const std::string payload = Encoded(codec, large);
      EXPECT_EQ(CodeOf(Decode(codec, 2, payload, kMaxNesting, {.deadline = kPast})),
                ErrorCode::kDeadlineExceeded);
      EXPECT_EQ(CodeOf(Decode(codec, 2, payload, kMaxNesting, {.stop = Stopped()})),
                ErrorCode::kCancelled);
    }
    EXPECT_TRUE(Decode(codec, 2, Encoded(codec, 1), kMaxNesting, {.deadline = kPast}));
  }
}

TEST(DecodeLimitsTest, WhereMemoryRunsOutThereIsAnError) {
  const auto result = OrOutOfMemory(77, []() -> Result<Value> { throw std::bad_alloc(); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().ToString(), "INTERNAL: out of memory for a message of 77 bytes");
}

// However the headers are nested.
TEST(DecodeLimitsTest, HeadersClaimNoMoreThanThereIs) {
  const auto error_of = [](const std::string& bytes) {
    const auto value = DecodeMsgpack(bytes);
    return value ? "none" : value.error().message;
  };
  const std::string two = "\x92";
  EXPECT_EQ(error_of(two + "\x91\xc0" + "\xc0"), "none");
  EXPECT_NE(error_of(two + "\x92\xc0\xc0")
                .find("an array claims more than the message has at byte"
                      " 1"),
            std::string::npos);
  EXPECT_NE(error_of(two + "\x81\xa0\xc0").find("a map claims more than the message has at byte 1"),
            std::string::npos);
  EXPECT_EQ(error_of(two + "\x81\xa0\xc0\xc0"), "none");
}

// --- Members that are passed over ---------------------------------------------------------------

RC_GTEST_PROP(PassedOverPropertyTest, TheOtherMembersAreReadWhateverTheValueIs, ()) {
  const Codec codec = *rc::gen::elementOf(kCodecs);
  const std::string payload = Encoded(
      codec, Value::Map{{"a", 1}, {"result", *GenAnyValue()}, {"u", *GenAnyValue()}, {"z", "z"}});
  Member members[] = {{"a"}, {"result", Member::Kind::kValue}, {"z"}, {"none"}};
  RC_ASSERT(DecodeMembers(codec, 2, payload, members, {}, Values::kPassedOver).has_value());
  RC_ASSERT(members[0].value == Value(1));
  RC_ASSERT(members[1].value == Value());
  RC_ASSERT(members[2].value == Value("z"));
  RC_ASSERT(!members[3].value);
}

RC_GTEST_PROP(PassedOverPropertyTest, WhatIsCutOffIsAnError, ()) {
  std::string payload = Encoded(Codec::kMessagePack, Value::Map{{"result", *GenAnyValue()}});
  payload.resize(*rc::gen::inRange<size_t>(0, payload.size()));
  Member members[] = {{"result", Member::Kind::kValue}};
  RC_ASSERT(!DecodeMembers(Codec::kMessagePack, 2, payload, members, {}, Values::kPassedOver));
}

TEST(PassedOverTest, EveryTypeOfTheFormatIsPassedOver) {
  const auto pass = [](const std::string& value) {
    Member members[] = {{"result", Member::Kind::kValue}, {"id"}};
    const auto decoded =
        DecodeMembers(Codec::kMessagePack, 2, "\x82\xa6result" + value + "\xa2id\x07", members, {},
                      Values::kPassedOver);
    return decoded ? members[1].value == Value(7) ? "passed" : "lost" : decoded.error().message;
  };
  const std::string zero(1, '\0');
  for (const std::string& value : {zero,
                                   std::string("\xe0"),
                                   std::string("\xc0"),
                                   std::string("\xc2"),
                                   std::string("\xc3"),
                                   "\xc4\x02" + std::string("ab"),
                                   "\xc5" + zero + "\x01" + "a",
                                   "\xc6" + zero + zero + zero + "\x01" + "a",
                                   std::string("\xca") + "abcd",
                                   std::string("\xcb") + "abcdefgh",
                                   std::string("\xcc") + "a",
                                   std::string("\xcd") + "ab",
                                   std::string("\xce") + "abcd",
                                   std::string("\xcf") + "abcdefgh",
                                   std::string("\xd0") + "a",
                                   std::string("\xd1") + "ab",
                                   std::string("\xd2") + "abcd",
                                   std::string("\xd3") + "abcdefgh",
                                   "\xd9\x01" + std::string("a"),
                                   "\xda" + zero + "\x01" + "a",
                                   "\xdb" + zero + zero + zero + "\x01" + "a",
                                   "\xdc" + zero + "\x02\xc0\xc0",
                                   "\xdd" + zero + zero + zero + "\x01\xc0",
                                   "\xde" + zero + "\x01\xa0\xc0",
                                   "\xdf" + zero + zero + zero + "\x01\xa0\xc0",
                                   "\xa1" + std::string("a"),
                                   std::string("\x92\x81\xa0\x90\x80")}) {
    EXPECT_STREQ(pass(value).c_str(), "passed") << testing::PrintToString(value);
  }
  EXPECT_NE(pass("\xc1").find("the type 0xc1 does not exist"), std::string::npos);
  EXPECT_NE(pass("\xd4\x01\x01").find("an extension type has no Value"), std::string::npos);
  EXPECT_NE(pass("\xdd\xff\xff\xff\xff").find("it claims more"), std::string::npos);
}

// --- Messages -----------------------------------------------------------------------------------

std::string ReplyOf(Codec codec, int64_t id, const Value& value) {
  std::string frame;
  EXPECT_TRUE(EncodeResultFrame(codec, 2, id, value, UINT32_MAX, &frame));
  return frame.substr(kFrameHeaderBytes);
}

std::string ChunkOf(Codec codec, int64_t id, int64_t index, bool final, const Value& value) {
  std::string frame;
  size_t bytes = 0;
  EXPECT_TRUE(EncodeChunkFrame(codec, id, index, final, &value, UINT32_MAX, &frame, &bytes));
  return frame.substr(kFrameHeaderBytes);
}

TEST(ReplyLimitsTest, AResultOverTheLimitFailsItsCallAndNoOther) {
  for (const Codec codec : kCodecs) {
    const std::string payload = ReplyOf(codec, 7, Value::Array(1000));
    const auto reply = DecodeReply(codec, 2, payload, {.max_bytes = 10'000});
    ASSERT_TRUE(reply) << reply.error().ToString();
    EXPECT_EQ(reply->id, 7);
    EXPECT_EQ(reply->kind, Reply::Kind::kError);
    EXPECT_TRUE(reply->final);
    EXPECT_EQ(reply->error.code, ErrorCode::kMessageTooLarge);
    EXPECT_TRUE(reply->error.may_have_run);
    EXPECT_NE(reply->error.message.find("the reply of " + std::to_string(payload.size()) +
                                        " bytes: decoded, the message takes "),
              std::string::npos)
        << reply->error.message;
    EXPECT_NE(reply->error.message.find("over the limit max_decoded_bytes of 10000"),
              std::string::npos);
  }
}

TEST(ReplyLimitsTest, TheIdIsFoundBehindTheResultToo) {
  std::string ones = "1";
  for (int i = 1; i < 1000; ++i) ones += ",1";
  const std::string json = "{\"result\":[" + ones + "],\"success\":true,\"id\":9}";
  const std::string msgpack =
      "\x83\xa6result\xdc\x03\xe8" + std::string(1000, '\xc0') + "\xa7success\xc3\xa2id\x09";
  for (const Codec codec : kCodecs) {
    const auto reply =
        DecodeReply(codec, 2, codec == Codec::kJson ? json : msgpack, {.max_bytes = 1000});
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->id, 9);
    EXPECT_EQ(reply->error.code, ErrorCode::kMessageTooLarge);
  }
}

TEST(ReplyLimitsTest, AChunkOverTheLimitMayNotBeTheLast) {
  for (const Codec codec : kCodecs) {
    for (const bool final : {false, true}) {
      const auto reply = DecodeReply(codec, 2, ChunkOf(codec, 7, 3, final, Value::Array(1000)),
                                     {.max_bytes = 10'000});
      ASSERT_TRUE(reply);
      EXPECT_EQ(reply->kind, Reply::Kind::kError);
      EXPECT_EQ(reply->error.code, ErrorCode::kMessageTooLarge);
      EXPECT_EQ(reply->chunk_index, 3);
      EXPECT_EQ(reply->final, final);
    }
  }
}

TEST(ReplyLimitsTest, AReplyThatIsNotDecodedInTimeFailsItsCall) {
  for (const Codec codec : kCodecs) {
    const auto reply =
        DecodeReply(codec, 2, ReplyOf(codec, 7, Value::Array(100'000)), {.deadline = kPast});
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->id, 7);
    EXPECT_EQ(reply->error.code, ErrorCode::kDeadlineExceeded);
    EXPECT_TRUE(reply->error.may_have_run);
  }
}

TEST(ReplyLimitsTest, WithoutItsValueAReplyIsWhatItIs) {
  for (const Codec codec : kCodecs) {
    const auto result =
        DecodeReplyWithoutValue(codec, 2, ReplyOf(codec, 7, Value::Array(1000)), 1000);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->id, 7);
    EXPECT_EQ(result->kind, Reply::Kind::kResult);
    EXPECT_TRUE(result->has_value && result->final && result->value.is_null());
    const auto chunk =
        DecodeReplyWithoutValue(codec, 2, ChunkOf(codec, 7, 3, false, Value::Array(1000)), 1000);
    ASSERT_TRUE(chunk);
    EXPECT_EQ(chunk->kind, Reply::Kind::kChunk);
    EXPECT_EQ(chunk->chunk_index, 3);
    EXPECT_TRUE(chunk->has_value && !chunk->final);
  }
}

// Decoding cuts texts for people and marks the cut. It leaves texts for programs whole.
TEST(ReplyLimitsTest, ALongErrorTextIsCutBetweenCharactersAndMarked) {
  constexpr size_t kCharacters = 100'000;
  std::string text = "ValueError: ";
  for (size_t i = 0; i < kCharacters; ++i) text += "\u20ac";
  for (const Codec codec : kCodecs) {
    for (const bool stream : {false, true}) {
      Value::Map message = {{"id", 7}, {"success", false}, {"error", text}, {"code", text}};
      if (stream) message.merge(Value::Map{{"type", "chunk"}, {"index", 0}, {"final", true}});
      // Ten times the limit of the text, and not enough for the whole of it.
      const DecodeLimits limits{.max_bytes = 2 * kMostErrorTextBytes + 1000};
      const auto reply = DecodeReply(codec, 2, Encoded(codec, std::move(message)), limits);
      ASSERT_TRUE(reply) << reply.error().ToString();
      ASSERT_EQ(reply->kind, Reply::Kind::kError);
      EXPECT_EQ(reply->error.code, ErrorCode::kHandlerFailed);
      const std::string& cut = reply->error.message;
      EXPECT_LE(cut.size(), kMostErrorTextBytes);
      EXPECT_GT(cut.size(), kMostErrorTextBytes - 100);
      EXPECT_TRUE(IsUtf8(cut));
      EXPECT_TRUE(cut.starts_with("ValueError: \u20ac"));
      const size_t kept = cut.find(" [");
      EXPECT_EQ(cut.substr(kept), BytesMore(text.size() - kept));
    }
    const std::string whole(kMostErrorTextBytes, 'x');
    const auto reply = DecodeReply(
        codec, 1, Encoded(codec, Value::Map{{"id", 7}, {"success", false}, {"error", whole}}));
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->error.message, whole);
  }
}

TEST(ReplyLimitsTest, WithoutItsValueAReplyTakesLittleWhateverItsMembersAre) {
  for (const Codec codec : kCodecs) {
    for (const char* member : {"id", "type", "code", "index", "other"}) {
      Value::Map message = {{"success", true}, {"result", 1}, {"id", 7}};
      message[member] = Value::Array(1000, Value(Value::Map()));
      const auto reply = DecodeReplyWithoutValue(codec, 2, Encoded(codec, message), 1000);
      EXPECT_TRUE(reply || reply.error().code == ErrorCode::kProtocolError)
          << member << ": " << reply.error().ToString();
    }
  }
}

TEST(RequestLimitsTest, ArgumentsOverTheLimitAreRefusedWithTheirId) {
  for (const Codec codec : kCodecs) {
    const Value args = Value::Map{{"a", Value::Array(1000)}};
    std::string frame;
    ASSERT_TRUE(EncodeRequestFrame(codec, {.id = 7, .command = "c", .args = &args, .version = 2},
                                   {.max_bytes = UINT32_MAX}, &frame));
    const auto message =
        DecodePoolMessage(Agreement{.codec = codec, .version = 2},
                          std::string_view(frame).substr(kFrameHeaderBytes), {.max_bytes = 10'000});
    ASSERT_FALSE(message);
    EXPECT_EQ(message.error().id, 7);
    EXPECT_EQ(message.error().error.code, ErrorCode::kMessageTooLarge);
    EXPECT_NE(message.error().error.message.find("max_decoded_bytes of 10000"), std::string::npos);
  }
}

TEST(ProtoMapLimitsTest, TheLimitIsOfAllMembersTogether) {
  ProtoMap map;
  for (int i = 0; i < 100; ++i) map[std::to_string(i)] = "[1,2,3,4,5,6,7,8,9,10]";
  map["text"] = std::string(1000, 'x');
  map["bytes"] = std::string(1000, '\xff');
  const auto value = DecodeMap(map);
  ASSERT_TRUE(value);
  const size_t needed = MemoryBytes(*value);
  EXPECT_TRUE(DecodeMap(map, {.max_bytes = needed + needed / 4}));
  EXPECT_EQ(CodeOf(DecodeMap(map, {.max_bytes = needed - 100})), ErrorCode::kMessageTooLarge);
}

// --- Encoding -----------------------------------------------------------------------------------

TEST(EncodeLimitsTest, MuchIsNotEncodedBeyondTheLimitOrTheTime) {
  for (const Codec codec : kCodecs) {
    const Value large = Value::Array(1'000'000);
    const auto encode = [&](const EncodeLimits& limits) {
      std::string out = "before";
      const auto encoded = Encode(codec, 2, large, &out, "value", kMaxNesting, limits);
      EXPECT_FALSE(encoded);
      EXPECT_EQ(out, "before");
      EXPECT_LT(out.capacity(), 1'000'000u);  // it had not gone on to the end
      return encoded ? Error() : encoded.error();
    };
    EXPECT_EQ(encode({.max_bytes = 1000}).code, ErrorCode::kMessageTooLarge);
    EXPECT_NE(encode({.max_bytes = 1000}).message.find(" is over the limit of 1000"),
              std::string::npos);
    EXPECT_EQ(encode({.deadline = kPast}).code, ErrorCode::kDeadlineExceeded);
    EXPECT_EQ(encode({.stop = Stopped()}).code, ErrorCode::kCancelled);
    std::string out;
    EXPECT_TRUE(Encode(codec, 2, 1, &out, "value", kMaxNesting, {.deadline = kPast}));
  }
}

TEST(EncodeLimitsTest, ARequestOverTheLimitIsTooLargeHoweverLarge) {
  for (const size_t size : {2'000u, 1'000'000u}) {
    const Value args = Value::Map{{"a", Value::Array(size)}};
    std::string frame;
    const auto encoded = EncodeRequestFrame(Codec::kMessagePack, {.id = 1, .args = &args},
                                            {.max_bytes = 1024}, &frame);
    ASSERT_FALSE(encoded);
    EXPECT_EQ(encoded.error().code, ErrorCode::kMessageTooLarge);
    EXPECT_TRUE(frame.empty());
  }
}

}  // namespace
}  // namespace snakepit
