#include "snakepit/value.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>

#include "src/value/utf8.h"
#include "src/value/value_gen.h"

namespace snakepit {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(ValueTest, IntegersAreOneNumberLine) {
  EXPECT_EQ(Value(5u), Value(5));
  EXPECT_EQ(Value(uint64_t{INT64_MAX}), Value(INT64_MAX));
  EXPECT_EQ(Value(UINT64_MAX).kind(), Value::Kind::kUint64);
  EXPECT_NE(Value(UINT64_MAX), Value(-1));
}

TEST(ValueTest, KindsAreNeverEqualToOneAnother) {
  EXPECT_NE(Value(1), Value(1.0));
  EXPECT_NE(Value(1), Value(true));
  EXPECT_NE(Value("a"), Value(Bytes{"a"}));
  EXPECT_NE(Value(), Value(false));
  EXPECT_NE(Value(Value::Array{}), Value(Value::Map{}));
}

TEST(ValueTest, DoublesAreComparedByTheirBitsButNaNEqualsNaN) {
  EXPECT_NE(Value(0.0), Value(-0.0));
  EXPECT_EQ(Value(kNaN), Value(-kNaN));
  EXPECT_NE(Value(kNaN), Value(1.0));
  EXPECT_EQ(Value(Value::Array{kNaN}), Value(Value::Array{kNaN}));
}

TEST(ValueTest, IsNullOnceMovedFromAndMayBeMovedOutOfItself) {
  Value text = "text";
  const Value taken = std::move(text);
  EXPECT_EQ(taken, Value("text"));
  EXPECT_TRUE(text.is_null());

  Value nested = Value::Array{Value::Map{{"in", "side"}}, 2};
  nested = std::move((*nested.get_if<Value::Array>())[0]);
  EXPECT_EQ(nested, Value(Value::Map{{"in", "side"}}));
  nested = *nested.Find("in");
  EXPECT_EQ(nested, Value("side"));
  Value& same = nested;
  nested = same;
  EXPECT_EQ(nested, Value("side"));
}

TEST(ValueTest, CopiesOfEveryKindAreOfTheirOwn) {
  for (const Value& value : {Value(), Value(true), Value(-1), Value(UINT64_MAX), Value(0.5),
                             Value("text"), Value(Bytes{"bytes"}), Value(Value::Array{1, "a"}),
                             Value(Value::Map{{"a", Value::Array{1}}})}) {
    Value copy = value;
    EXPECT_EQ(copy, value);
    EXPECT_EQ(copy.kind(), value.kind());
    if (auto* text = copy.get_if<std::string>()) *text += "!";
    if (auto* bytes = copy.get_if<Bytes>()) bytes->data += "!";
    if (auto* array = copy.get_if<Value::Array>()) array->emplace_back();
    if (auto* map = copy.get_if<Value::Map>()) map->clear();
    EXPECT_EQ(copy == value, value.kind() < Value::Kind::kText);
  }
}

TEST(ValueTest, FindAndTextAtLookIntoMapsOnly) {
  const Value value = Value::Map{{"text", "x"}, {"number", 1}};
  ASSERT_NE(value.Find("number"), nullptr);
  EXPECT_EQ(*value.Find("number"), Value(1));
  EXPECT_EQ(value.Find("none"), nullptr);
  EXPECT_EQ(Value(1).Find("number"), nullptr);
  EXPECT_EQ(value.TextAt("text"), "x");
  EXPECT_EQ(value.TextAt("number", "else"), "else");
  EXPECT_EQ(value.TextAt("none", "else"), "else");
  EXPECT_EQ(Value(1).TextAt("x"), "");
}

TEST(ValueTest, FromJsonSaysWhatIsWrongAndWhere) {
  EXPECT_EQ(Value::FromJson("{\"a\":[1,-2.5]}").value(),
            Value(Value::Map{{"a", Value::Array{1, -2.5}}}));
  const Result<Value> bad = Value::FromJson("{\"a\":}");
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().ToString(),
            "INVALID_ARGUMENT: invalid JSON: \"}\" is not a JSON value at byte 5, in "
            "\"{\\\"a\\\":}\"");
}

TEST(ValueTest, ToJsonShowsWhatJsonCannotHold) {
  const Value value = Value::Map{
      {"bytes", Value::Array{Bytes{""}, Bytes{"f"}, Bytes{"fo"}, Bytes{"foo"}, Bytes{"\xff\xfe"}}},
      {"doubles", Value::Array{1.0, kNaN, kInfinity, -kInfinity}},
      {"text", std::string("a\xff\xe2\x82z€")},
  };
  EXPECT_EQ(value.ToJson(),
            "{\"bytes\":[{\"$bytes\":\"\"},{\"$bytes\":\"Zg==\"},{\"$bytes\":\"Zm8=\"},"
            "{\"$bytes\":\"Zm9v\"},{\"$bytes\":\"//4=\"}],"
            "\"doubles\":[1.0,{\"$double\":\"NaN\"},{\"$double\":\"Infinity\"},"
            "{\"$double\":\"-Infinity\"}],"
            "\"text\":\"a\uFFFD\uFFFD\uFFFDz€\"}");
}

// A pointer or an enum would else become a bool or a double unseen.
static_assert(!std::is_constructible_v<Value, int*>);
static_assert(!std::is_constructible_v<Value, const void*>);
static_assert(!std::is_constructible_v<Value, Value*>);
static_assert(!std::is_constructible_v<Value, void (*)()>);
enum PlainEnum { kPlain };
static_assert(!std::is_constructible_v<Value, PlainEnum>);
static_assert(std::is_constructible_v<Value, bool> && std::is_constructible_v<Value, float>);
static_assert(std::is_constructible_v<Value, const char*>);

template <typename T>
std::string ErrorOf(const Result<T>& result) {
  return result ? "none" : result.error().ToString();
}

TEST(ValueTest, GetReturnsTheContentOfEachKind) {
  EXPECT_EQ(Value(true).Get<bool>(), true);
  EXPECT_EQ(Value(7).Get<int64_t>(), 7);
  EXPECT_EQ(Value(7).Get<uint64_t>(), 7u);
  EXPECT_EQ(Value(UINT64_MAX).Get<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(Value(0.5).Get<double>(), 0.5);
  EXPECT_EQ(Value(7).Get<double>(), 7.0);
  EXPECT_EQ(Value(UINT64_MAX).Get<double>(), 18446744073709551615.0);
  EXPECT_EQ(Value("a").Get<std::string>(), "a");
  EXPECT_EQ(Value(Bytes{"a"}).Get<Bytes>(), Bytes{"a"});
  EXPECT_EQ(Value(Value::Array{1}).Get<Value::Array>(), Value::Array{1});
  EXPECT_EQ((Value(Value::Map{{"a", 1}}).Get<Value::Map>()), (Value::Map{{"a", 1}}));
}

TEST(ValueTest, GetSaysWhatTheValueMustBeAndIs) {
  const Value map = Value::Map{{"count", "three"}, {"none", nullptr}, {"large", UINT64_MAX}};
  EXPECT_EQ(ErrorOf(map.Get<int64_t>("count")),
            "INVALID_ARGUMENT: \"count\" must be an integer, not \"three\"");
  EXPECT_EQ(ErrorOf(map.Get<double>("count")),
            "INVALID_ARGUMENT: \"count\" must be a number, not \"three\"");
  EXPECT_EQ(ErrorOf(map.Get<bool>("none")),
            "INVALID_ARGUMENT: \"none\" must be true or false, not null");
  EXPECT_EQ(ErrorOf(map.Get<std::string>("none")),
            "INVALID_ARGUMENT: \"none\" must be a text, not null");
  EXPECT_EQ(ErrorOf(map.Get<Bytes>("count")),
            "INVALID_ARGUMENT: \"count\" must be bytes, not \"three\"");
  EXPECT_EQ(ErrorOf(map.Get<Value::Array>("count")),
            "INVALID_ARGUMENT: \"count\" must be an array, not \"three\"");
  EXPECT_EQ(ErrorOf(map.Get<Value::Map>("count")),
            "INVALID_ARGUMENT: \"count\" must be a map, not \"three\"");
  EXPECT_EQ(ErrorOf(map.Get<int64_t>("large")),
            "INVALID_ARGUMENT: \"large\" must be an integer up to 9223372036854775807, not "
            "18446744073709551615");
  EXPECT_EQ(ErrorOf(Value(-1).Get<uint64_t>()),
            "INVALID_ARGUMENT: the value must be an integer from 0, not -1");
  EXPECT_EQ(ErrorOf(map.Get<int64_t>("there")), "INVALID_ARGUMENT: \"there\" is missing");
  EXPECT_EQ(ErrorOf(Value(1).Get<int64_t>("there")), "INVALID_ARGUMENT: \"there\" is missing");
  EXPECT_EQ(ErrorOf(Value(1.5).Get<int64_t>()),
            "INVALID_ARGUMENT: the value must be an integer, not 1.5");
  EXPECT_LT(ErrorOf(Value(std::string(100'000, 'x')).Get<bool>()).size(), 400u);
}

TEST(ValueTest, AMemberIsOtherwiseWhenAbsentOrOfAnotherKind) {
  const Value map = Value::Map{{"i", 1}, {"n", 0.5}, {"b", true}, {"t", "x"}};
  EXPECT_EQ(map.IntegerAt("i", 9), 1);
  EXPECT_EQ(map.NumberAt("n", 9), 0.5);
  EXPECT_EQ(map.NumberAt("i", 9), 1);
  EXPECT_EQ(map.BoolAt("b"), true);
  EXPECT_EQ(map.TextAt("t", "y"), "x");
  for (const char* key : {"other", "z"}) {
    const Value others = Value::Map{{"other", Value::Array{}}};
    EXPECT_EQ(others.IntegerAt(key, 9), 9) << key;
    EXPECT_EQ(others.NumberAt(key, 9.5), 9.5) << key;
    EXPECT_EQ(others.BoolAt(key, true), true) << key;
    EXPECT_EQ(others.TextAt(key, "y"), "y") << key;
  }
  EXPECT_EQ(map.IntegerAt("n"), 0);
  EXPECT_EQ(map.BoolAt("i"), false);
  EXPECT_EQ(map.TextAt("i"), "");
  EXPECT_EQ(Value(1).IntegerAt("i", 9), 9);
}

TEST(ValueTest, ElementsAndMembersAreIteratedOver) {
  const Value task = Value::Map{{"b", Value::Array{1, "x", Value::Array{}}},
                                {"a", Value::Map{{"nested", Value::Map{{"deep", true}}}}}};
  std::string seen;
  for (const auto& [key, member] : task.members()) seen += key + "=" + member.ToJson() + ";";
  EXPECT_EQ(seen, "a={\"nested\":{\"deep\":true}};b=[1,\"x\",[]];");
  seen.clear();
  for (const Value& element : task.Find("b")->elements()) seen += element.ToJson() + ";";
  EXPECT_EQ(seen, "1;\"x\";[];");
  const Value text = "text";
  EXPECT_TRUE(text.elements().empty());
  EXPECT_TRUE(task.elements().empty());
  const Value null;
  EXPECT_TRUE(null.members().empty());
  EXPECT_TRUE(task.Find("b")->members().empty());
}

TEST(ValueTest, ToJsonIsOneLine) {
  EXPECT_EQ(Value("a\nb\x01\"\\").ToJson(), "\"a\\nb\\u0001\\\"\\\\\"");
}

// The values that every encoding gets to see in property tests.
TEST(ValueGenTest, MakesWhatIsHardToEncode) {
  std::set<std::string> seen;
  const std::function<void(const Value&)> look = [&](const Value& value) {
    if (const auto* number = value.get_if<double>()) {
      const uint64_t bits = std::bit_cast<uint64_t>(*number);
      if (std::isnan(*number)) seen.insert((bits & 0xff) != 0 ? "NaN with payload" : "NaN");
      if (std::isnan(*number) && (bits >> 51 & 1) == 0) seen.insert("signaling NaN");
      if (std::isinf(*number)) seen.insert(*number > 0 ? "infinity" : "-infinity");
      if (bits == UINT64_C(1) << 63) seen.insert("-0.0");
      if (*number == 1) seen.insert("double like an integer");
    } else if (const auto* int64 = value.get_if<int64_t>()) {
      if (*int64 > INT64_C(1) << 53) seen.insert("over 2^53");
    } else if (value.get_if<uint64_t>() != nullptr) {
      seen.insert("over INT64_MAX");
    } else if (const auto* text = value.get_if<std::string>()) {
      if (text->empty()) seen.insert("empty text");
      if (text->find('\0') != std::string::npos) seen.insert("U+0000");
      if (*text == "123" || *text == "1.5") seen.insert("text like a number");
    } else if (const auto* bytes = value.get_if<Bytes>()) {
      if (bytes->data.empty()) seen.insert("empty bytes");
      if (!bytes->data.empty() && IsUtf8(bytes->data)) seen.insert("bytes like text");
      if (!IsUtf8(bytes->data)) seen.insert("bytes unlike text");
      if (bytes->data == "[1]" || bytes->data == "null") seen.insert("bytes like JSON");
    } else if (const auto* array = value.get_if<Value::Array>()) {
      if (array->empty()) seen.insert("empty array");
      for (const Value& element : *array) look(element);
    } else if (const auto* map = value.get_if<Value::Map>()) {
      if (map->empty()) seen.insert("empty map");
      if (map->size() == 1 && map->begin()->first.starts_with('$')) seen.insert("near tag");
      if (map->contains("$bytes") && map->size() == 1) seen.insert("map like bytes");
      for (const auto& [key, member] : *map) {
        if (key.empty()) seen.insert("empty key");
        look(member);
      }
    }
  };
  const rc::Gen<Value> values = GenAnyValue();
  for (int i = 0; i < 2000; ++i) {
    const Value value = values(rc::Random(i), i % 100).value();
    ASSERT_LE(Nesting(value), kMaxNesting);
    if (Nesting(value) == kMaxNesting) seen.insert("nested 64 deep");
    look(value);
  }
  for (const char* kind : {"NaN",
                           "NaN with payload",
                           "signaling NaN",
                           "infinity",
                           "-infinity",
                           "-0.0",
                           "over 2^53",
                           "over INT64_MAX",
                           "empty text",
                           "U+0000",
                           "text like a number",
                           "empty bytes",
                           "bytes like text",
                           "bytes unlike text",
                           "bytes like JSON",
                           "empty array",
                           "empty map",
                           "near tag",
                           "map like bytes",
                           "nested 64 deep",
                           "empty key",
                           "double like an integer"}) {
    EXPECT_TRUE(seen.contains(kind)) << kind;
  }
}

TEST(SameBitsTest, TellsNansApart) {
  const Value quiet = std::bit_cast<double>(UINT64_C(0x7ff8'0000'0000'0000));
  const Value other = std::bit_cast<double>(UINT64_C(0x7ff8'0000'0000'0001));
  EXPECT_EQ(quiet, other);
  EXPECT_TRUE(SameBits(quiet, quiet));
  EXPECT_FALSE(SameBits(quiet, other));
  EXPECT_FALSE(SameBits(Value::Array{quiet}, Value::Array{other}));
  EXPECT_FALSE(SameBits(Value::Map{{"x", quiet}}, Value::Map{{"x", other}}));
  EXPECT_TRUE(SameBits(Value::Map{{"x", quiet}}, Value::Map{{"x", quiet}}));
  EXPECT_FALSE(SameBits(quiet, 1));
}

}  // namespace
}  // namespace snakepit
