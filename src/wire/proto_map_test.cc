#include "src/wire/proto_map.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "proto/snakepit.pb.h"
#include "src/value/json.h"
#include "src/value/utf8.h"
#include "src/value/value_gen.h"

namespace snakepit {
namespace {

std::string ErrorOf(const Value& value) {
  ProtoMap map;
  const Result<void> result = EncodeMap(value, &map);
  return result ? "none" : result.error().ToString();
}

TEST(EncodeMapTest, TextAndAllElseAreJsonAndBytesAreRaw) {
  ExecuteRequest request;
  (*request.mutable_args())["old"] = "is replaced";
  ASSERT_TRUE(EncodeMap(Value::Map{{"text", "abc"},
                                   {"digits", "123"},
                                   {"number", 123},
                                   {"double", 1.0},
                                   {"null", nullptr},
                                   {"list", Value::Array{true}},
                                   {"bytes", Bytes{"\xff"}}},
                        request.mutable_args())
                  .has_value());
  EXPECT_EQ(request.args_size(), 7);
  EXPECT_EQ(request.args().at("text"), "\"abc\"");
  EXPECT_EQ(request.args().at("digits"), "\"123\"");
  EXPECT_EQ(request.args().at("number"), "123");
  EXPECT_EQ(request.args().at("double"), "1.0");
  EXPECT_EQ(request.args().at("null"), "null");
  EXPECT_EQ(request.args().at("list"), "[true]");
  EXPECT_EQ(request.args().at("bytes"), "\xff");
}

TEST(EncodeMapTest, NullIsAnEmptyMap) {
  ProtoMap map;
  map["old"] = "x";
  EXPECT_TRUE(EncodeMap(Value(), &map).has_value());
  EXPECT_TRUE(map.empty());
}

TEST(EncodeMapTest, WhatCannotBeSentIsNamed) {
  EXPECT_EQ(ErrorOf(Value::Array{}), "INVALID_ARGUMENT: args is neither a map nor null");
  EXPECT_EQ(ErrorOf(Value::Map{{"a", Value::Array{Bytes{"x"}}}}),
            "INVALID_ARGUMENT: args.a[0] is bytes, which JSON cannot hold");
  EXPECT_EQ(ErrorOf(Value::Map{{"\xff", 1}}),
            "INVALID_ARGUMENT: args has a key that is not UTF-8: \"\\xff\"");
}

TEST(EncodeMapTest, NestingCountsTheMapItself) {
  Value value = 1;
  for (int i = 0; i < 63; ++i) value = Value::Array{std::move(value)};
  EXPECT_EQ(ErrorOf(Value::Map{{"a", value}}), "none");
  EXPECT_NE(ErrorOf(Value::Map{{"a", Value::Array{value}}}).find("nested too deeply"),
            std::string::npos);
}

TEST(DecodeMapTest, JsonTextAndBytes) {
  ExecuteResponse response;
  ProtoMap& map = *response.mutable_result();
  map["number"] = "5";
  map["quoted"] = "\"5\"";
  map["text"] = "plain text";
  map["empty"] = "";
  map["nan"] = "NaN";
  map["list"] = "[1, 2.0]";
  map["bytes"] = "\xff\xfe";
  EXPECT_EQ(DecodeMap(map), Value(Value::Map{{"number", 5},
                                             {"quoted", "5"},
                                             {"text", "plain text"},
                                             {"empty", ""},
                                             {"nan", "NaN"},
                                             {"list", Value::Array{1, 2.0}},
                                             {"bytes", Bytes{"\xff\xfe"}}}));
  EXPECT_EQ(DecodeMap(ProtoMap()), Value(Value::Map{}));
}

RC_GTEST_PROP(ProtoMapPropertyTest, AllButBytesComesBackEqual, ()) {
  ValueGenOptions options;
  options.bytes = false;
  options.non_finite = false;
  const Value value = *GenMap(options);
  ProtoMap map;
  RC_ASSERT(EncodeMap(value, &map).has_value());
  RC_ASSERT(DecodeMap(map) == value);
}

RC_GTEST_PROP(ProtoMapPropertyTest, BytesThatAreNotUtf8ComeBackEqual, ()) {
  const auto data = *rc::gen::container<std::string>(rc::gen::arbitrary<char>());
  RC_PRE(!IsUtf8(data));
  const Value value = Value::Map{{"b", Bytes{data}}};
  ProtoMap map;
  RC_ASSERT(EncodeMap(value, &map).has_value());
  RC_ASSERT(DecodeMap(map) == value);
}

}  // namespace
}  // namespace snakepit
