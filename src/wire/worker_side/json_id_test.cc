#include "src/wire/worker_side/json_id.h"

#include <gtest/gtest.h>

#include <string>

namespace snakepit {
namespace {

TEST(JsonIdTest, IsFoundBesideWhatCannotBeDecoded) {
  const std::string deep(100'000, '[');
  const std::string deep_end(100'000, ']');
  for (const std::string& value :
       {std::string("1e400"), std::string("NaN"), std::string("-Infinity"), std::string(5000, '9'),
        std::string(R"("\ud834")"), std::string(R"("a\"},\\")"), deep + deep_end,
        std::string(R"([{"id":5},"id",{"id":6}])"), std::string("{}")}) {
    EXPECT_EQ(FindJsonIdAndType(R"({"id":7,"args":)" + value + "}").id, 7);
    EXPECT_EQ(FindJsonIdAndType(R"( { "args" : )" + value + R"( , "id" : 7 } )").id, 7);
  }
}

TEST(JsonIdTest, IsAnIntegerOf64Bits) {
  const auto id = [](const std::string& text) {
    return FindJsonIdAndType(R"({"id":)" + text + R"(,"x":1e400})").id;
  };
  EXPECT_EQ(id("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(id("9223372036854775807"), INT64_MAX);
  for (const char* none :
       {"9223372036854775808", "1.0", "1e0", "1e400", "\"7\"", "null", "true", "[7]", "7x", "+7"}) {
    EXPECT_EQ(id(none), std::nullopt) << none;
  }
  EXPECT_EQ(FindJsonIdAndType(R"({"id":7,"id":8})").id, 8);
}

TEST(JsonIdTest, TheTypeIsAsItIsWritten) {
  EXPECT_EQ(FindJsonIdAndType(R"({"type":"health","id":7})").type, "health");
  EXPECT_EQ(FindJsonIdAndType(R"({"id":7,"type":1e400 })").type, "1e400");
  EXPECT_EQ(FindJsonIdAndType(R"({"id":7})").type, std::nullopt);
}

TEST(JsonIdTest, WhatIsNoMapHasNone) {
  for (const char* text :
       {"", "{", "}", "[7]", R"("id":7)", R"({"id":7)", R"({"id":7,)", R"({"id":7}})",
        R"({"id":7]})", R"({"id":7}{"id":8})", R"({"id":7,"a"})", R"({"id":7,"a":})",
        R"({"id":7,"a":"x})", R"({"id":7,"a":[})", R"({"id":7,"a":1 2})", R"({"id":7,"a":"\)"}) {
    EXPECT_EQ(FindJsonIdAndType(text).id, std::nullopt) << text;
  }
}

}  // namespace
}  // namespace snakepit
