#include "src/value/json.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "src/value/json_scan.h"
#include "src/value/utf8.h"
#include "src/value/value_gen.h"

namespace snakepit {
namespace {

// Values that JSON can hold.
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

bool PlainJsonCanHold(const Value& value) {
  if (const auto* number = value.get_if<double>()) return std::isfinite(*number);
  if (const auto* array = value.get_if<Value::Array>()) {
    return std::all_of(array->begin(), array->end(), PlainJsonCanHold);
  }
  if (const auto* map = value.get_if<Value::Map>()) {
    return std::all_of(map->begin(), map->end(),
                       [](const auto& member) { return PlainJsonCanHold(member.second); });
  }
  return value.get_if<Bytes>() == nullptr;
}

std::string EncodedLossless(const Value& value) {
  std::string out;
  const Result<void> result = EncodeJson(value, &out, "value", kMaxNesting, JsonDialect::kLossless);
  return result ? out : result.error().ToString();
}

Result<Value> DecodedLossless(std::string_view json) {
  return DecodeJson(json, kMaxNesting, JsonDialect::kLossless);
}

// The fault that the decoder names, without the text that it quotes.
std::string FaultOf(std::string_view json) {
  const Result<Value> value = DecodedLossless(json);
  if (value) return "none";
  EXPECT_EQ(value.error().code, ErrorCode::kInvalidArgument);
  const std::string& message = value.error().message;
  return message.substr(0, message.find(", in \""));
}

double DoubleOfBits(uint64_t bits) { return std::bit_cast<double>(bits); }

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

TEST(BriefJsonTest, IsShortHoweverLargeTheValue) {
  EXPECT_EQ(BriefJson(Value::Map{{"a", Value::Array{1, "b", Bytes{"c"}}}}),
            "{\"a\":[1,\"b\",{\"$bytes\":\"Yw==\"}]}");
  for (const Value& large :
       {Value(std::string(1 << 20, 'x')), Value(Bytes{std::string(1 << 20, 'x')}),
        Value(Value::Array(100'000)), Value(Value::Map{{std::string(1 << 20, 'x'), 1}}),
        Value(Value::Array(1000, Value("€€€")))}) {
    const std::string brief = BriefJson(large);
    EXPECT_LT(brief.size(), 300u);
    EXPECT_GT(brief.size(), 200u);
    EXPECT_TRUE(brief.ends_with("…"));
    EXPECT_TRUE(IsUtf8(brief));
  }
}

TEST(DecodeJsonTest, AHugeTextDoesNotDisturbTheNext) {
  const std::string text(4 << 20, 'x');
  EXPECT_EQ(DecodeJson("\"" + text + "\"").value(), Value(text));
  EXPECT_EQ(DecodeJson("[1]").value(), Value(Value::Array{1}));
}

TEST(LosslessJsonTest, BytesNansAndInfinitiesAreTags) {
  EXPECT_EQ(EncodedLossless(Bytes{std::string("\xff\0", 2)}), "{\"$bytes\":\"/wA=\"}");
  EXPECT_EQ(EncodedLossless(Bytes{}), "{\"$bytes\":\"\"}");
  EXPECT_EQ(EncodedLossless(-std::numeric_limits<double>::infinity()),
            "{\"$double\":\"fff0000000000000\"}");
  EXPECT_EQ(EncodedLossless(DoubleOfBits(0x7ff8'0000'0000'00ab)),
            "{\"$double\":\"7ff80000000000ab\"}");
  for (const uint64_t bits : {UINT64_C(0x7ff0'0000'0000'0001), UINT64_C(0xfff7'ffff'ffff'ffff),
                              UINT64_C(0x7ff8'0000'0000'0000), UINT64_C(0x7ff0'0000'0000'0000)}) {
    const Value value = DoubleOfBits(bits);
    const Result<Value> decoded = DecodedLossless(EncodedLossless(value));
    ASSERT_TRUE(decoded.has_value());
    EXPECT_TRUE(SameBits(*decoded, value)) << std::hex << bits;
  }
}

TEST(LosslessJsonTest, OtherValuesAreAsInPlainJson) {
  const Value value =
      Value::Map{{"$x", 1}, {"$bytes", "AA=="}, {"d", Value::Array{-0.0, 1.0, UINT64_MAX}}};
  EXPECT_EQ(EncodedLossless(value), Encoded(value));
  EXPECT_EQ(DecodedLossless(Encoded(value)).value(), value);
}

TEST(LosslessJsonTest, AMapOfOneMemberThatBeginsWithADollarHasOneMore) {
  const std::pair<Value, std::string> cases[] = {
      {Value::Map{{"$bytes", 1}}, R"({"$$bytes":1})"},
      {Value::Map{{"$bytes", "AA=="}}, R"({"$$bytes":"AA=="})"},
      {Value::Map{{"$", 1}}, R"({"$$":1})"},
      {Value::Map{{"$$", 1}}, R"({"$$$":1})"},
      {Value::Map{{"$a", Value::Map{{"$b", -0.0}}}}, R"({"$$a":{"$$b":-0.0}})"},
      {Value::Map{{"$a", 1}, {"b", 2}}, R"({"$a":1,"b":2})"},
      {Value::Map{{"a$", 1}}, R"({"a$":1})"},
      {Value::Map{}, "{}"},
  };
  for (const auto& [value, json] : cases) {
    EXPECT_EQ(EncodedLossless(value), json);
    EXPECT_EQ(DecodedLossless(json).value(), value) << json;
    EXPECT_EQ(DecodeJson(Encoded(value)).value(), value) << json;
  }
}

TEST(LosslessJsonTest, PlainJsonKnowsNoTags) {
  EXPECT_EQ(DecodeJson(R"({"$bytes":"AA=="})").value(), Value(Value::Map{{"$bytes", "AA=="}}));
  EXPECT_EQ(DecodeJson(R"({"$$":1})").value(), Value(Value::Map{{"$$", 1}}));
}

TEST(LosslessJsonTest, WhatLooksLikeATagAndIsNoneIsNamedWithItsPlace) {
  EXPECT_EQ(FaultOf(R"({"$x":1})"),
            "invalid JSON: value has the one member \"$x\", which is no tag");
  EXPECT_EQ(FaultOf(R"({"$":1})"), "invalid JSON: value has the one member \"$\", which is no tag");
  EXPECT_EQ(FaultOf(R"({"a":[1,{"$bytes":1}]})"),
            "invalid JSON: value.a[1] is a $bytes without a base64 text");
  EXPECT_EQ(FaultOf(R"({"$$a":{"$double":"NaN"}})"),
            "invalid JSON: value[\"$a\"] is a $double without the 16 hex digits of a NaN or "
            "infinity");
  for (const char* no_base64 : {"A", "AA", "AA=", "AB==", "AAB=", "A===", "====", "AA==AA==",
                                "AA==\\n", " AA==", "AA-_", "AAAA=", "AA\\u0000="}) {
    const std::string json = std::string(R"({"$bytes":")") + no_base64 + "\"}";
    EXPECT_EQ(FaultOf(json), "invalid JSON: value is a $bytes without a base64 text") << json;
  }
  for (const char* no_double :
       {"\"\"", "\"7ff800000000000\"", "\"7ff80000000000000\"", "\"7FF8000000000000\"",
        "\"3ff0000000000000\"", "\"7fefffffffffffff\"", "\"0x7ff800000000000\"",
        "\"7ff80000 0000000\"", "1", "null", "[]"}) {
    EXPECT_NE(FaultOf(std::string(R"({"$double":)") + no_double + "}").find("is a $double without"),
              std::string::npos)
        << no_double;
  }
}

TEST(LosslessJsonTest, OfMembersWithTheSameNameTheLastIsTheOne) {
  EXPECT_EQ(DecodedLossless(R"({"$bytes":1,"$bytes":"AA=="})").value(),
            Value(Bytes{std::string(1, '\0')}));
  EXPECT_EQ(DecodedLossless(R"({"$$a":1,"$$a":2})").value(), Value(Value::Map{{"$a", 2}}));
  EXPECT_EQ(DecodedLossless(R"({"$a":1,"b":2,"$a":3})").value(),
            Value(Value::Map{{"$a", 3}, {"b", 2}}));
}

TEST(LosslessJsonTest, ATagIsNoMapForTheNestingAndAnEscapedMapIsOne) {
  const auto within = [](int arrays, const std::string& json) {
    return std::string(arrays, '[') + json + std::string(arrays, ']');
  };
  EXPECT_EQ(FaultOf(within(64, R"({"$bytes":"AA=="})")), "none");
  EXPECT_EQ(FaultOf(within(64, R"({"$double":"7ff0000000000000"})")), "none");
  EXPECT_EQ(FaultOf(within(63, R"({"$$":1})")), "none");
  EXPECT_NE(FaultOf(within(64, R"({"$$":1})")).find("is nested deeper than 64"), std::string::npos);
  EXPECT_NE(FaultOf(within(64, R"({})")).find("is nested deeper than 64"), std::string::npos);
  EXPECT_NE(FaultOf(within(65, "1")).find("is nested deeper than 64"), std::string::npos);
  Value deepest = Bytes{"b"};
  for (int i = 0; i < 64; ++i) deepest = Value::Array{std::move(deepest)};
  EXPECT_EQ(DecodedLossless(EncodedLossless(deepest)).value(), deepest);
}

TEST(LosslessJsonTest, ALongTextHasNoLongPathInItsErrors) {
  const std::string key(100'000, 'k');
  const Result<Value> result = DecodedLossless("{\"" + key + "\":{\"$x\":1}}");
  ASSERT_FALSE(result.has_value());
  EXPECT_LT(result.error().message.size(), 300u);
}

TEST(DecodeJsonMembersTest, EachMemberAskedForIsReadAndOnlyValuesAreInTheDialect) {
  Member members[] = {{"id"}, {"result", Member::Kind::kValue}, {"error"}, {"absent"}};
  const Result<void> decoded = DecodeJsonMembers(
      R"({"id":7,"result":{"$bytes":"AA=="},"error":{"$bytes":"AA=="},"more":{"$x":1},"id":8})",
      JsonDialect::kLossless, members);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(members[0].value, Value(8));
  EXPECT_EQ(members[1].value, Value(Bytes{std::string(1, '\0')}));
  EXPECT_EQ(members[2].value, Value(Value::Map{{"$bytes", "AA=="}}));
  EXPECT_EQ(members[3].value, std::nullopt);
}

TEST(DecodeJsonMembersTest, AMessageOfOneMemberIsNoTag) {
  Member members[] = {{"$bytes"}};
  ASSERT_TRUE(DecodeJsonMembers(R"({"$bytes":"x"})", JsonDialect::kLossless, members).has_value());
  EXPECT_EQ(members[0].value, Value("x"));
}

TEST(DecodeJsonMembersTest, AFaultInOneMemberLeavesTheOthers) {
  Member members[] = {{"args", Member::Kind::kValue}, {"id"}};
  const Result<void> decoded =
      DecodeJsonMembers(R"({"args":{"x":{"$x":1}},"id":7})", JsonDialect::kLossless, members);
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().message,
            "invalid JSON: args.x has the one member \"$x\", which is no tag, in "
            "\"{\\\"args\\\":{\\\"x\\\":{\\\"$x\\\":1}},\\\"id\\\":7}\"");
  EXPECT_EQ(members[0].value, std::nullopt);
  EXPECT_EQ(members[1].value, Value(7));
}

TEST(DecodeJsonMembersTest, AValueNests64DeepAndTheMessageIsNotCounted) {
  const auto decoded = [](int depth, JsonDialect dialect) {
    Member members[] = {{"result", Member::Kind::kValue}};
    const std::string json =
        "{\"result\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
    return DecodeJsonMembers(json, dialect, members).has_value();
  };
  for (const JsonDialect dialect : {JsonDialect::kPlain, JsonDialect::kLossless}) {
    EXPECT_TRUE(decoded(64, dialect));
    EXPECT_FALSE(decoded(65, dialect));
    EXPECT_FALSE(decoded(5000, dialect));
  }
}

TEST(DecodeJsonMembersTest, WhatIsNoMapIsAnError) {
  Member members[] = {{"id"}};
  EXPECT_EQ(DecodeJsonMembers("[1]", JsonDialect::kPlain, members).error().message,
            "invalid JSON: it is no map, in \"[1]\"");
  EXPECT_FALSE(DecodeJsonMembers("", JsonDialect::kPlain, members).has_value());
}

RC_GTEST_PROP(LosslessJsonPropertyTest, EveryValueComesBackWithTheSameBits, ()) {
  const Value value = *GenAnyValue();
  std::string json;
  RC_ASSERT(EncodeJson(value, &json, "value", kMaxNesting, JsonDialect::kLossless).has_value());
  const Result<Value> decoded = DecodedLossless(json);
  RC_ASSERT(decoded.has_value());
  RC_ASSERT(SameBits(*decoded, value));
}

// The written text is JSON to others, too.
RC_GTEST_PROP(LosslessJsonPropertyTest, TheTextIsJson, ()) {
  RC_ASSERT(!FindJsonFault(EncodedLossless(*GenAnyValue()), kMaxNesting + 1).has_value());
}

// An accepted text is written again as the same value: no text has two readings.
RC_GTEST_PROP(LosslessJsonPropertyTest, ADamagedTextIsRefusedOrStable, ()) {
  std::string json = EncodedLossless(*GenAnyValue());
  json[*rc::gen::inRange<size_t>(0, json.size())] =
      *rc::gen::elementOf(std::string("\"$=Aa0f7{}[],:"));
  const Result<Value> value = DecodedLossless(json);
  if (!value) return;
  const Result<Value> again = DecodedLossless(EncodedLossless(*value));
  RC_ASSERT(again.has_value());
  RC_ASSERT(SameBits(*again, *value));
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
  RC_ASSERT(encoded == PlainJsonCanHold(value));
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
  const DecodeLimits limits;
  DecodeBudget budget(limits);
  RC_ASSERT(TryDecodeJson(json, &value, &budget) == !FindJsonFault(json, kMaxNesting).has_value());
}

}  // namespace
}  // namespace snakepit
