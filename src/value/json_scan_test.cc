#include "src/value/json_scan.h"

#include <gtest/gtest.h>

#include <string>

#include "src/value/json.h"

namespace snakepit {
namespace {

TEST(FindJsonFaultTest, ValidTextsHaveNone) {
  for (const char* json :
       {"null", " true ", "-0", "1e5", "0.5E-3", "\"\\u00e9\\ud83d\\ude00\\\"\"", "[]", "[1, [2]]",
        "{}", "{\"a\" : {\"b\":[]}}", "18446744073709551615", "-9223372036854775808", "1e-400",
        "0e999999999999999999999", "\"\x7f\""}) {
    EXPECT_FALSE(FindJsonFault(json, kMaxNesting).has_value()) << json;
  }
}

TEST(FindJsonFaultTest, SaysWhatAndWhere) {
  struct Case {
    const char* json;
    size_t offset;
    const char* what;
  };
  for (const Case& c : {
           Case{"", 0, "a value is missing"},
           Case{"[1,]", 3, "\"]\" is not a JSON value"},
           Case{"{\"a\":NaN}", 5, "NaN is not a JSON value"},
           Case{"[Infinity]", 1, "Infinity is not a JSON value"},
           Case{"-Infinity", 0, "-Infinity is not a JSON value"},
           Case{"nul", 0, "\"nul\" is not a JSON value"},
           Case{"1 2", 2, "something follows the JSON value"},
           Case{"[1 2]", 3, "an array lacks a ',' or ']'"},
           Case{"{a:1}", 1, "an object lacks a name in double quotes"},
           Case{"{\"a\" 1}", 5, "an object lacks a ':'"},
           Case{"{\"a\":1 \"b\"}", 7, "an object lacks a ',' or '}'"},
           Case{"\"ab", 0, "a string has no end"},
           Case{"\"a\nb\"", 2, "a string has a control character that is not escaped"},
           Case{"\"a\xff\"", 2, "a string is not UTF-8"},
           Case{"\"\\x41\"", 1, "a string has an invalid escape"},
           Case{"\"\\u12g4\"", 1, "a string has an invalid \\u escape"},
           Case{"\"\\ud800\"", 1, "a string has half a surrogate pair"},
           Case{"\"\\udc00\"", 1, "a string has half a surrogate pair"},
           Case{"\"\\ud800\\u0041\"", 1, "a string has half a surrogate pair"},
           Case{"01", 0, "a number has a leading zero"},
           Case{"-", 1, "a number lacks digits"},
           Case{"1.", 2, "a number lacks digits"},
           Case{"1e+", 3, "a number lacks digits"},
           Case{"18446744073709551616", 0, "an integer is outside of -2^63 to 2^64-1"},
           Case{"-9223372036854775809", 0, "an integer is outside of -2^63 to 2^64-1"},
           Case{"[-1e400]", 1, "a number is beyond the range of a double"},
           Case{"1e999999999999999999999", 0, "a number is beyond the range of a double"},
       }) {
    const auto fault = FindJsonFault(c.json, kMaxNesting);
    ASSERT_TRUE(fault.has_value()) << c.json;
    EXPECT_EQ(fault->offset, c.offset) << c.json;
    EXPECT_EQ(fault->what, c.what) << c.json;
  }
}

TEST(FindJsonFaultTest, NestingIsLimited) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_FALSE(FindJsonFault(nested(64), 64).has_value());
  const auto fault = FindJsonFault(nested(65), 64);
  ASSERT_TRUE(fault.has_value());
  EXPECT_EQ(fault->offset, 64u);
  EXPECT_EQ(fault->what, "the value is nested deeper than 64");
  EXPECT_TRUE(FindJsonFault(std::string(1'000'000, '['), 64).has_value());
}

}  // namespace
}  // namespace snakepit
