#include "src/value/json.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "src/value/json_scan.h"
#include "src/value/value_gen.h"

namespace snakepit {
namespace {

// What JSON can hold.
const ValueGenOptions kJsonValues = {.bytes = false, .non_finite = false, .max_nesting = 4};

std::string Encoded(const Value& value) {
  std::string out;
  const Result<void> result = EncodeJson(value, &out);
  return result ? out : result.error().ToString();
}

Value Nested(int depth) {
  Value value = Value::Array{};
  for (int i = 1; i < depth; ++i) value = Value::Array{std::move(value)};
  return value;
}

TEST(EncodeJsonTest, KnownValues) {
  EXPECT_EQ(Encoded(nullptr), "null");
  EXPECT_EQ(Encoded(Value::Array{true, false, INT64_MIN, UINT64_MAX}),
            "[true,false,-9223372036854775808,18446744073709551615]");
  EXPECT_EQ(Encoded(Value::Map{{"b", Value::Map{}}, {"a", Value::Array{}}}), "{\"a\":[],\"b\":{}}");
}

TEST(EncodeJsonTest, DoublesStayDoubles) {
  EXPECT_EQ(Encoded(1.0), "1.0");
  EXPECT_EQ(Encoded(-0.0), "-0.0");
  EXPECT_EQ(Encoded(0.1), "0.1");
  EXPECT_EQ(Encoded(1e22), "1e+22");
  EXPECT_EQ(Encoded(9007199254740993.0), "9007199254740992.0");
  EXPECT_EQ(Encoded(5e-324), "5e-324");
}

TEST(EncodeJsonTest, OnlyWhatMustBeIsEscaped) {
  EXPECT_EQ(Encoded("é€😀/\x7f"), "\"é€😀/\x7f\"");
  EXPECT_EQ(Encoded("\"\\\b\f\n\r\t\x01\x1f"), "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\"");
  EXPECT_EQ(Encoded(std::string("a\0b", 3)), "\"a\\u0000b\"");
}

TEST(EncodeJsonTest, NamesThePlaceOfWhatJsonCannotHold) {
  const Value value = Value::Map{{"items", Value::Array{1, 2, Value::Map{{"x", Bytes{"b"}}}}}};
  std::string out = "kept";
  const Result<void> result = EncodeJson(value, &out, "args");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().ToString(),
            "INVALID_ARGUMENT: args.items[2].x is bytes, which JSON cannot hold");
  EXPECT_EQ(out, "kept");
  EXPECT_EQ(Encoded(Value::Map{{"odd key", std::nan("")}}),
            "INVALID_ARGUMENT: value[\"odd key\"] is NaN, which JSON has no number for");
  EXPECT_EQ(Encoded(-std::numeric_limits<double>::infinity()),
            "INVALID_ARGUMENT: value is infinite, which JSON has no number for");
  EXPECT_EQ(Encoded(Value::Array{"\xff"}),
            "INVALID_ARGUMENT: value[0] is a text that is not UTF-8");
  EXPECT_EQ(Encoded(Value::Map{{"\xff", 1}}),
            "INVALID_ARGUMENT: value[\"\\xff\"] has a key that is not UTF-8");
}

TEST(JsonTest, NestingOf64IsExactAnd65IsAnError) {
  std::string json;
  ASSERT_TRUE(EncodeJson(Nested(64), &json).has_value());
  EXPECT_EQ(DecodeJson(json).value(), Nested(64));
  EXPECT_FALSE(EncodeJson(Nested(65), &json).has_value());
  json = "[" + json + "]";
  EXPECT_FALSE(DecodeJson(json).has_value());
  EXPECT_TRUE(DecodeJson(json, 65).has_value());
}

TEST(DecodeJsonTest, IntegersAndDoublesAreToldApart) {
  EXPECT_EQ(DecodeJson("1").value(), Value(1));
  EXPECT_EQ(DecodeJson("1.0").value(), Value(1.0));
  EXPECT_EQ(DecodeJson("1e0").value(), Value(1.0));
  EXPECT_EQ(DecodeJson("-0.0").value(), Value(-0.0));
  EXPECT_EQ(DecodeJson("-0").value(), Value(0));
  EXPECT_EQ(DecodeJson("9223372036854775808").value(), Value(UINT64_C(1) << 63));
  EXPECT_EQ(DecodeJson("18446744073709551615").value(), Value(UINT64_MAX));
}

TEST(DecodeJsonTest, IntegersBeyondUint64AreAnErrorRatherThanRounded) {
  const Result<Value> result = DecodeJson("[18446744073709551616]");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().message,
            "invalid JSON: an integer is outside of -2^63 to 2^64-1 at byte 1, in "
            "\"[18446744073709551616]\"");
}

TEST(DecodeJsonTest, TheLastOfEqualKeysCounts) {
  EXPECT_EQ(DecodeJson("{\"a\":1,\"b\":2,\"a\":3}").value(), Value(Value::Map{{"a", 3}, {"b", 2}}));
}

TEST(DecodeJsonTest, InvalidTokensOfPythonAreNamed) {
  const Result<Value> result = DecodeJson("{\"x\": -Infinity}");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().message,
            "invalid JSON: -Infinity is not a JSON value at byte 6, in \"{\\\"x\\\": -Infinity}\"");
}

TEST(DecodeJsonTest, HalfASurrogatePairIsAnErrorAndAPairIsACharacter) {
  EXPECT_EQ(DecodeJson("\"\\ud83d\\ude00\"").value(), Value("😀"));
  EXPECT_EQ(DecodeJson("\"\\\\ud800\"").value(), Value("\\ud800"));
  for (const char* json : {"\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\ud800\"", "{\"\\uDFFF\":1}",
                           "\"\\n\\udbff\\udbff\"", "\"\\ud83d\\ude00\\ude00\""}) {
    EXPECT_FALSE(DecodeJson(json).has_value()) << json;
  }
}

TEST(DecodeJsonTest, AHugeTextDoesNotDisturbTheNext) {
  const std::string text(4 << 20, 'x');
  EXPECT_EQ(DecodeJson("\"" + text + "\"").value(), Value(text));
  EXPECT_EQ(DecodeJson("[1]").value(), Value(Value::Array{1}));
}

RC_GTEST_PROP(JsonPropertyTest, WhatGoesInComesOutEqual, ()) {
  const Value value = *GenValue(kJsonValues);
  std::string json;
  RC_ASSERT(EncodeJson(value, &json).has_value());
  const Result<Value> decoded = DecodeJson(json);
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(*decoded == value);
  RC_ASSERT(value.ToJson() == json);
}

RC_GTEST_PROP(JsonPropertyTest, EncodingFailsExactlyForWhatJsonCannotHold, ()) {
  const Value value = *GenValue();
  std::string json;
  const bool encoded = EncodeJson(value, &json).has_value();
  const std::string shown = value.ToJson();
  RC_ASSERT(encoded == (shown.find("{\"$bytes\":") == std::string::npos &&
                        shown.find("{\"$double\":") == std::string::npos));
  RC_ASSERT(DecodeJson(shown).has_value());
}

// Two parsers that share no code agree on what is JSON, here near valid texts.
RC_GTEST_PROP(JsonPropertyTest, TheParserAndTheScannerAgreeOnDamagedTexts, ()) {
  std::string json;
  RC_ASSERT(EncodeJson(*GenValue(kJsonValues), &json).has_value());
  const auto at = *rc::gen::inRange<size_t>(0, json.size());
  json[at] = *rc::gen::oneOf(rc::gen::arbitrary<char>(),
                             rc::gen::elementOf(std::string("\"\\{}[],:0.eE-+ un")));
  Value value;
  RC_ASSERT(TryDecodeJson(json, &value) == !FindJsonFault(json, kMaxNesting).has_value());
}

}  // namespace
}  // namespace snakepit
