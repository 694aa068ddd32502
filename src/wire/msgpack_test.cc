#include "src/wire/msgpack.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <msgpack.hpp>
#include <string>

#include "src/value/value_gen.h"

namespace snakepit {
namespace {

std::string Encoded(const Value& value) {
  std::string out;
  const Result<void> result = EncodeMsgpack(value, &out);
  return result ? out : result.error().ToString();
}

// The bytes of a literal that may hold zeros.
template <size_t N>
std::string B(const char (&literal)[N]) {
  return std::string(literal, N - 1);
}

std::string ErrorOf(const std::string& bytes, MapKeys keys = MapKeys::kLegacy) {
  const Result<Value> result = DecodeMsgpack(bytes, keys);
  return result ? "none" : result.error().message;
}

Value Nested(int depth) {
  Value value = Value::Map{};
  for (int i = 1; i < depth; ++i) value = Value::Array{std::move(value)};
  return value;
}

TEST(EncodeMsgpackTest, IntegersAreMinimal) {
  EXPECT_EQ(Encoded(0), B("\x00"));
  EXPECT_EQ(Encoded(127), B("\x7f"));
  EXPECT_EQ(Encoded(128), B("\xcc\x80"));
  EXPECT_EQ(Encoded(255), B("\xcc\xff"));
  EXPECT_EQ(Encoded(256), B("\xcd\x01\x00"));
  EXPECT_EQ(Encoded(65536), B("\xce\x00\x01\x00\x00"));
  EXPECT_EQ(Encoded(int64_t{1} << 32), B("\xcf\x00\x00\x00\x01\x00\x00\x00\x00"));
  EXPECT_EQ(Encoded(UINT64_MAX), B("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
  EXPECT_EQ(Encoded(-1), B("\xff"));
  EXPECT_EQ(Encoded(-32), B("\xe0"));
  EXPECT_EQ(Encoded(-33), B("\xd0\xdf"));
  EXPECT_EQ(Encoded(-128), B("\xd0\x80"));
  EXPECT_EQ(Encoded(-129), B("\xd1\xff\x7f"));
  EXPECT_EQ(Encoded(-32769), B("\xd2\xff\xff\x7f\xff"));
  EXPECT_EQ(Encoded(INT64_MIN), B("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"));
}

TEST(EncodeMsgpackTest, OtherKinds) {
  EXPECT_EQ(Encoded(nullptr), B("\xc0"));
  EXPECT_EQ(Encoded(Value::Array{true, false}), B("\x92\xc3\xc2"));
  EXPECT_EQ(Encoded(1.0), B("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"));
  EXPECT_EQ(Encoded("a"), B("\xa1\x61"));
  EXPECT_EQ(Encoded(Bytes{"a"}), B("\xc4\x01\x61"));
  EXPECT_EQ(Encoded(Value::Map{{"k", 1}}), B("\x81\xa1\x6b\x01"));
}

TEST(EncodeMsgpackTest, NamesThePlaceOfWhatItCannotHold) {
  EXPECT_EQ(Encoded(Value::Map{{"a", Value::Array{"\xff"}}}),
            "INVALID_ARGUMENT: value.a[0] is a text that is not UTF-8");
  EXPECT_EQ(Encoded(Value::Map{{"\xff", 1}}),
            "INVALID_ARGUMENT: value[\"\\xff\"] has a key that is not UTF-8");
  std::string out = "kept";
  EXPECT_FALSE(EncodeMsgpack(Nested(65), &out).has_value());
  EXPECT_EQ(out, "kept");
}

TEST(DecodeMsgpackTest, ReadsEveryWidthOfTheFormat) {
  EXPECT_EQ(DecodeMsgpack(B("\xd3\x00\x00\x00\x00\x00\x00\x00\x05")).value(), Value(5));
  EXPECT_EQ(DecodeMsgpack(B("\xcf\x00\x00\x00\x00\x00\x00\x00\x05")).value(), Value(5));
  EXPECT_EQ(DecodeMsgpack(B("\xd1\xff\xff")).value(), Value(-1));
  EXPECT_EQ(DecodeMsgpack(B("\xca\x3f\xc0\x00\x00")).value(), Value(1.5));
  EXPECT_EQ(DecodeMsgpack(B("\xd9\x01\x61")).value(), Value("a"));
  EXPECT_EQ(DecodeMsgpack(B("\xda\x00\x01\x61")).value(), Value("a"));
  EXPECT_EQ(DecodeMsgpack(B("\xdb\x00\x00\x00\x01\x61")).value(), Value("a"));
  EXPECT_EQ(DecodeMsgpack(B("\xc5\x00\x01\x61")).value(), Value(Bytes{"a"}));
  EXPECT_EQ(DecodeMsgpack(B("\xc6\x00\x00\x00\x01\x61")).value(), Value(Bytes{"a"}));
  EXPECT_EQ(DecodeMsgpack(B("\xdc\x00\x01\x07")).value(), Value(Value::Array{7}));
  EXPECT_EQ(DecodeMsgpack(B("\xdd\x00\x00\x00\x01\x07")).value(), Value(Value::Array{7}));
  EXPECT_EQ(DecodeMsgpack(B("\xde\x00\x01\xa1k\x07")).value(), Value(Value::Map{{"k", 7}}));
  EXPECT_EQ(DecodeMsgpack(B("\xdf\x00\x00\x00\x01\xa1k\x07")).value(), Value(Value::Map{{"k", 7}}));
}

TEST(DecodeMsgpackTest, LegacyBinAndIntegerKeysBecomeText) {
  const auto decoded = [](const std::string& bytes) {
    return DecodeMsgpack(bytes, MapKeys::kLegacy).value();
  };
  EXPECT_EQ(decoded(B("\x83\xc4\x01k\x01\x05\x02\xff\x03")),
            Value(Value::Map{{"k", 1}, {"5", 2}, {"-1", 3}}));
  EXPECT_EQ(decoded(B("\x82\xa1k\x01\xc4\x01k\x02")), Value(Value::Map{{"k", 2}}));
  EXPECT_EQ(decoded(B("\x82\xa1k\x01\xa1k\xc0")), Value(Value::Map{{"k", nullptr}}));
}

// PROTOCOL.md 2.2.8.
TEST(DecodeMsgpackTest, ALegacyStrThatIsNotUtf8IsBytes) {
  EXPECT_EQ(DecodeMsgpack(B("\x92\xa2\xff\xfe\xa2\xc3\xa9"), MapKeys::kLegacy).value(),
            Value(Value::Array{Bytes{"\xff\xfe"}, "\u00e9"}));
  EXPECT_EQ(DecodeMsgpack(B("\xda\x00\x01\x80"), MapKeys::kLegacy).value(), Value(Bytes{"\x80"}));
}

TEST(DecodeMsgpackTest, OtherwiseOnlyTextIsAKey) {
  EXPECT_EQ(DecodeMsgpack(B("\x82\xd9\x01k\x01\xa1l\x02")).value(),
            Value(Value::Map{{"k", 1}, {"l", 2}}));
  for (const std::string& bytes :
       {B("\x81\xc4\x01k\x01"), B("\x81\x05\x01"), B("\x81\xcf\xff\0\0\0\0\0\0\0\x01"),
        B("\x81\xc0\x01"), B("\x81\xcb\0\0\0\0\0\0\0\0\x01")}) {
    EXPECT_NE(ErrorOf(bytes, MapKeys::kText).find("a map's key is not text at byte 1"),
              std::string::npos)
        << ErrorOf(bytes, MapKeys::kText);
  }
}

TEST(DecodeMsgpackTest, AnArrayOrAMapIsNoKey) {
  for (const std::string& bytes :
       {B("\x81\x90\x01"), B("\x81\x80\x01"), B("\x81\xdc\0\0\x01"), B("\x81\xdf\0\0\0\0\x01")}) {
    EXPECT_NE(ErrorOf(bytes, MapKeys::kText).find("a map's key is not text at byte 1"),
              std::string::npos);
    EXPECT_NE(ErrorOf(bytes).find("a map's key is neither text nor integer at byte 1"),
              std::string::npos);
  }
}

TEST(DecodeMsgpackTest, ANanKeepsItsBits) {
  const auto bits = [](const std::string& bytes) {
    return std::bit_cast<uint64_t>(*DecodeMsgpack(bytes).value().get_if<double>());
  };
  EXPECT_EQ(bits(B("\xcb\x7f\xf0\0\0\0\0\0\x01")), UINT64_C(0x7ff0'0000'0000'0001));
  EXPECT_EQ(bits(B("\xcb\xff\xf8\0\0\0\0\0\xab")), UINT64_C(0xfff8'0000'0000'00ab));
  // A float's sign, its quiet bit and its payload at the top of the double's.
  EXPECT_EQ(bits(B("\xca\x7f\xc0\0\x01")), UINT64_C(0x7ff8'0000'2000'0000));
  EXPECT_EQ(bits(B("\xca\xff\x80\0\x01")), UINT64_C(0xfff0'0000'2000'0000));
  EXPECT_EQ(bits(B("\xca\xff\x80\0\0")), UINT64_C(0xfff0'0000'0000'0000));
}

TEST(DecodeMsgpackMembersTest, EachMemberAskedForIsRead) {
  Member members[] = {{"id"}, {"result", Member::Kind::kValue}, {"absent"}};
  const std::string bytes = Encoded(Value::Map{
      {"id", 7}, {"result", Value::Map{{"$bytes", Bytes{"b"}}}}, {"z", Value::Array{1, 2}}});
  ASSERT_TRUE(DecodeMsgpackMembers(bytes, MapKeys::kText, members).has_value());
  EXPECT_EQ(members[0].value, Value(7));
  EXPECT_EQ(members[1].value, Value(Value::Map{{"$bytes", Bytes{"b"}}}));
  EXPECT_EQ(members[2].value, std::nullopt);
}

TEST(DecodeMsgpackMembersTest, TheMapMayHaveAnyHeader) {
  for (const std::string& bytes : {B("\x81\xa2id\x07"), B("\xde\0\x01\xa2id\x07"),
                                   B("\xdf\0\0\0\x01\xa2id\x07"), B("\x82\xa2id\x01\xa2id\x07")}) {
    Member members[] = {{"id"}};
    ASSERT_TRUE(DecodeMsgpackMembers(bytes, MapKeys::kText, members).has_value());
    EXPECT_EQ(members[0].value, Value(7));
  }
}

TEST(DecodeMsgpackMembersTest, LegacyKeysAreReadInVersion1Alone) {
  const std::string bytes = B("\x81\xc4\x02id\x07");
  Member members[] = {{"id"}};
  EXPECT_FALSE(DecodeMsgpackMembers(bytes, MapKeys::kText, members).has_value());
  ASSERT_TRUE(DecodeMsgpackMembers(bytes, MapKeys::kLegacy, members).has_value());
  EXPECT_EQ(members[0].value, Value(7));
}

TEST(DecodeMsgpackMembersTest, FaultsAreNamedAndLeaveTheMembersBefore) {
  const auto fault = [](const std::string& bytes) {
    Member members[] = {{"id"}};
    const Result<void> decoded = DecodeMsgpackMembers(bytes, MapKeys::kText, members);
    return decoded ? "none" : decoded.error().message;
  };
  EXPECT_EQ(fault(""), "invalid MessagePack: the message ends early at byte 0, in \"\"");
  EXPECT_NE(fault(B("\x91\x01")).find("it is no map at byte 0"), std::string::npos);
  EXPECT_NE(fault(B("\x05")).find("it is no map"), std::string::npos);
  EXPECT_NE(fault(B("\xdf\xff\xff\xff\xff")).find("claims more"), std::string::npos);
  EXPECT_NE(fault(B("\x81\xa2id\x07\x01")).find("something follows"), std::string::npos);
  Member members[] = {{"id"}};
  EXPECT_FALSE(DecodeMsgpackMembers(B("\x82\xa2id\x07\xa4"
                                      "args\x81\x01\x01"),
                                    MapKeys::kText, members)
                   .has_value());
  EXPECT_EQ(members[0].value, Value(7));
}

TEST(DecodeMsgpackMembersTest, AValueNests64DeepAndTheMessageIsNotCounted) {
  for (const int depth : {64, 65}) {
    const std::string bytes = B("\x81\xa1v") + std::string(depth - 1, '\x91') + B("\x90");
    Member members[] = {{"v", Member::Kind::kValue}};
    EXPECT_EQ(DecodeMsgpackMembers(bytes, MapKeys::kText, members).has_value(), depth == 64);
  }
}

TEST(DecodeMsgpackTest, ErrorsSayWhatAndWhere) {
  EXPECT_EQ(ErrorOf(""), "invalid MessagePack: the message ends early at byte 0, in \"\"");
  EXPECT_EQ(ErrorOf(B("\x92\x01")),
            "invalid MessagePack: an array claims more than the message has at byte 0, in "
            "\"\\x92\\x01\"");
  EXPECT_EQ(ErrorOf(B("\xa2"
                      "a")),
            "invalid MessagePack: the message ends early at byte 2, in \"\\xa2a\"");
  EXPECT_EQ(ErrorOf(B("\x01\x02")),
            "invalid MessagePack: something follows the MessagePack object at byte 1, in "
            "\"\\x01\\x02\"");
  EXPECT_NE(ErrorOf(B("\xd4\x01\x00")).find("an extension type has no Value at byte 0"),
            std::string::npos);
  EXPECT_NE(ErrorOf(B("\xc1")).find("the type 0xc1 does not exist"), std::string::npos);
  EXPECT_NE(ErrorOf(B("\x91\xa1\xff"), MapKeys::kText).find("a str is not UTF-8 at byte 2"),
            std::string::npos);
  for (const std::string& bytes :
       {B("\x81\xc4\x01\xff\x01"), B("\x81\xd9\x01\xff\x01"), B("\x81\xa1\xff\x01")}) {
    EXPECT_NE(ErrorOf(bytes).find(" not UTF-8"), std::string::npos) << ErrorOf(bytes);
  }
  EXPECT_NE(ErrorOf(B("\x81\xc0\x01")).find("a map's key is neither text nor integer at byte 1"),
            std::string::npos);
}

TEST(DecodeMsgpackTest, ClaimedLengthsAreNotBelieved) {
  EXPECT_NE(ErrorOf(B("\xdd\xff\xff\xff\xff")).find("claims more"), std::string::npos);
  EXPECT_NE(ErrorOf(B("\xdf\xff\xff\xff\xff")).find("claims more"), std::string::npos);
  EXPECT_NE(ErrorOf(B("\xc6\xff\xff\xff\xff")).find("ends early"), std::string::npos);
  EXPECT_NE(ErrorOf(B("\xdb\xff\xff\xff\xff")).find("ends early"), std::string::npos);
}

TEST(DecodeMsgpackTest, EveryTruncationIsAnError) {
  const Value value = Value::Map{{"a", Value::Array{1, 300, 1.5, "text", Bytes{"b"}, nullptr}},
                                 {"m", Value::Map{{"k", UINT64_MAX}}}};
  const std::string bytes = Encoded(value);
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_FALSE(DecodeMsgpack(std::string_view(bytes).substr(0, n)).has_value()) << n;
  }
  EXPECT_EQ(DecodeMsgpack(bytes).value(), value);
}

TEST(MsgpackTest, NestingOf64IsExactAnd65IsAnError) {
  const std::string bytes = Encoded(Nested(64));
  EXPECT_EQ(DecodeMsgpack(bytes).value(), Nested(64));
  EXPECT_NE(ErrorOf("\x91" + bytes).find("nested deeper than 64 at byte 64"), std::string::npos);
  EXPECT_TRUE(DecodeMsgpack("\x91" + bytes, MapKeys::kText, 65).has_value());
  EXPECT_NE(ErrorOf(std::string(1'000'000, '\x91')).find("nested deeper"), std::string::npos);
}

RC_GTEST_PROP(MsgpackPropertyTest, EveryValueComesBackWithTheSameBits, ()) {
  const Value value = *GenAnyValue();
  std::string bytes;
  RC_ASSERT(EncodeMsgpack(value, &bytes).has_value());
  const Result<Value> decoded = DecodeMsgpack(bytes);
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(SameBits(*decoded, value));
}

// True if msgpack-cxx read the same value.
bool Same(const msgpack::object& object, const Value& value) {
  switch (object.type) {
    case msgpack::type::NIL:
      return value.is_null();
    case msgpack::type::BOOLEAN:
      return value == Value(object.via.boolean);
    case msgpack::type::POSITIVE_INTEGER:
      return value == Value(object.via.u64);
    case msgpack::type::NEGATIVE_INTEGER:
      return value == Value(object.via.i64);
    case msgpack::type::FLOAT64:
      return value == Value(object.via.f64);
    case msgpack::type::STR:
      return value == Value(std::string(object.via.str.ptr, object.via.str.size));
    case msgpack::type::BIN:
      return value == Value(Bytes{std::string(object.via.bin.ptr, object.via.bin.size)});
    case msgpack::type::ARRAY: {
      const auto* array = value.get_if<Value::Array>();
      return array != nullptr &&
             std::equal(
                 array->begin(), array->end(), begin(object.via.array), end(object.via.array),
                 [](const Value& element, const auto& other) { return Same(other, element); });
    }
    case msgpack::type::MAP: {
      const auto* map = value.get_if<Value::Map>();
      return map != nullptr &&
             std::equal(map->begin(), map->end(), begin(object.via.map), end(object.via.map),
                        [](const auto& member, const auto& kv) {
                          return Same(kv.key, member.first) && Same(kv.val, member.second);
                        });
    }
    default:
      return false;
  }
}

// (Its own packer is no measure: it turns the double 1.0 into an integer.)
RC_GTEST_PROP(MsgpackPropertyTest, AnotherLibraryReadsTheSame, ()) {
  const Value value = *GenAnyValue();
  const std::string bytes = Encoded(value);
  const msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size());
  RC_ASSERT(Same(handle.get(), value));
}

RC_GTEST_PROP(MsgpackPropertyTest, WhatIsAcceptedAnotherLibraryAcceptsToo, ()) {
  std::string bytes = Encoded(*GenValue());
  const auto at = *rc::gen::inRange<size_t>(0, bytes.size());
  bytes[at] = *rc::gen::arbitrary<char>();
  if (!DecodeMsgpack(bytes)) return;
  size_t offset = 0;
  const msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size(), offset);
  RC_ASSERT(offset == bytes.size());
}

}  // namespace
}  // namespace snakepit
