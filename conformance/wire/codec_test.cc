#include "conformance/wire/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <limits>
#include <string>

namespace snakepit::conformance {
namespace {

using ::testing::HasSubstr;

// The values of PROTOCOL.md 0.6 that codecs get wrong.
std::vector<Json> Values() {
  Json deep = 1;
  for (int i = 0; i < 64; ++i) deep = Json::array({deep});
  return {Json(),
          Json(true),
          Json(0),
          Json(INT64_MIN),
          Json(UINT64_MAX),
          Json((int64_t{1} << 53) + 1),
          Json(1.0),
          Json(-0.0),
          Json(5e-324),
          Json(std::numeric_limits<double>::infinity()),
          Json(std::bit_cast<double>(uint64_t{0xfff8000000000001})),
          Json(""),
          Json(std::string("a\0b", 3)),
          Json("ü 🐍"),
          BytesValue(""),
          BytesValue("{}"),
          BytesValue("\xff\x00\x01\x02"),
          Json::array(),
          Json::object(),
          Json{{"", 1}, {"__proto__", Json()}},
          Json{{"$bytes", 1}},
          Json{{"$$", 1}},
          Json{{"$a", {{"$b", "c"}}}},
          deep};
}

TEST(CodecTest, ValuesComeBackTheSame) {
  for (const Json& value : Values()) {
    const auto json = Decode(Format::kJson, Encode(Format::kJson, Tagged(value)));
    ASSERT_TRUE(json) << json.error().ToString();
    const auto untagged = Untagged(*json);
    ASSERT_TRUE(untagged) << untagged.error().ToString();
    EXPECT_TRUE(AreSame(*untagged, value)) << Show(*untagged) << " and " << Show(value);
    const auto msgpack = Decode(Format::kMsgpack, Encode(Format::kMsgpack, value));
    ASSERT_TRUE(msgpack) << msgpack.error().ToString();
    EXPECT_TRUE(AreSame(*msgpack, value)) << Show(*msgpack) << " and " << Show(value);
  }
}

TEST(CodecTest, DifferentValuesAreNotTheSame) {
  const std::vector<Json> values = Values();
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t j = 0; j < values.size(); ++j) {
      EXPECT_EQ(AreSame(values[i], values[j]), i == j) << Show(values[i]) << " " << Show(values[j]);
    }
  }
}

// PROTOCOL.md 2.1 and 6.2.
TEST(CodecTest, WritesTheExamplesOfTheProtocol) {
  const Json ping = {{"id", 1}, {"command", "ping"}, {"args", Json::object()}};
  const std::string bytes(
      "\x83\xa4"
      "args\x80\xa7"
      "command\xa4ping\xa2id\x01",
      24);
  EXPECT_EQ(Encode(Format::kMsgpack, ping), bytes);
  EXPECT_EQ(Encode(Format::kJson, ping), R"({"args":{},"command":"ping","id":1})");
}

TEST(CodecTest, WhatTheProtocolDoesNotAllowIsNamed) {
  const auto why = [](Format format, std::string_view payload) {
    const auto value = Decode(format, payload);
    return value ? "decoded: " + Show(*value) : value.error().message;
  };
  EXPECT_THAT(why(Format::kJson, "\xef\xbb\xbf{}"), HasSubstr("byte order mark"));
  EXPECT_THAT(why(Format::kJson, R"({"a":{"b":1,"b":2}})"), HasSubstr("\"b\" twice"));
  EXPECT_THAT(why(Format::kJson, R"({"":1,"":2})"), HasSubstr("\"\" twice"));
  for (const char* text :
       {"NaN", "[1,]", "{} {}", "\"\\ud83d\"", "\"\xff\"", "1e999", "", "01", "{\"a\":1"}) {
    EXPECT_THAT(why(Format::kJson, text), HasSubstr("no JSON")) << text;
  }
  const auto msgpack = [&](std::string_view payload) { return why(Format::kMsgpack, payload); };
  EXPECT_THAT(msgpack("\x82\xa1"
                      "a\x01\xa1"
                      "a\x02"),
              HasSubstr("\"a\" twice"));
  EXPECT_THAT(msgpack("\x81\x01\x02"), HasSubstr("no text, but 1"));
  EXPECT_THAT(msgpack("\xa1\xff"), HasSubstr("not UTF-8"));
  EXPECT_THAT(msgpack("\xd4\x01\x02"), HasSubstr("extension"));
  EXPECT_THAT(msgpack("\x01\x02"), HasSubstr("1 bytes after"));
  EXPECT_THAT(msgpack("\xc1"), HasSubstr("no MessagePack"));
  EXPECT_THAT(msgpack(std::string_view("\xdd\xff\xff\xff\xff", 5)), HasSubstr("no MessagePack"));
}

TEST(CodecTest, TagsThatBreakTheirClausesAreNamed) {
  for (const Json& tag :
       {Json{{"$bytes", "YWI"}}, Json{{"$bytes", "YWJ="}}, Json{{"$bytes", 1}},
        Json{{"$double", "3ff0000000000000"}}, Json{{"$double", "7FF0000000000000"}},
        Json{{"$later", 1}}, Json{{"$", 1}}}) {
    const auto value = Untagged(Json::array({tag}));
    EXPECT_FALSE(value) << Show(*value);
  }
  Json deep = 1;
  for (int i = 0; i < 100; ++i) deep = Json::array({deep});
  EXPECT_FALSE(Untagged(deep));
}

}  // namespace
}  // namespace snakepit::conformance
