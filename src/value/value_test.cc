#include "snakepit/value.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

namespace snakepit {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(ValueTest, IntegersAreOneNumberLine) {
  EXPECT_EQ(Value(5u), Value(5));
  EXPECT_EQ(Value(uint64_t{INT64_MAX}), Value(INT64_MAX));
  EXPECT_EQ(Value(UINT64_MAX).kind(), Value::Kind::kUint64);
  EXPECT_NE(Value(UINT64_MAX), Value(-1));
  EXPECT_TRUE(Value(UINT64_MAX).is_integer());
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

TEST(ValueTest, ToJsonIsOneLine) {
  EXPECT_EQ(Value("a\nb\x01\"\\").ToJson(), "\"a\\nb\\u0001\\\"\\\\\"");
}

}  // namespace
}  // namespace snakepit
