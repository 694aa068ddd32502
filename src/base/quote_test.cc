#include "src/base/quote.h"

#include <gtest/gtest.h>

#include <string>

namespace snakepit {
namespace {

TEST(QuoteBytesTest, EscapesAllThatIsNotPrintableAscii) {
  EXPECT_EQ(QuoteBytes("hello\n"), "\"hello\\n\"");
  EXPECT_EQ(QuoteBytes(std::string("\0\x1b\x7f\xff", 4)), "\"\\x00\\x1b\\x7f\\xff\"");
  EXPECT_EQ(QuoteBytes("a\"b\\c\t\r"), "\"a\\\"b\\\\c\\t\\r\"");
  EXPECT_EQ(QuoteBytes(""), "\"\"");
}

TEST(QuoteBytesTest, SaysThatThereIsMore) {
  EXPECT_EQ(QuoteBytes("abcd", 4), "\"abcd\"");
  EXPECT_EQ(QuoteBytes("abcde", 4), "\"abcd\"…");
}

TEST(HexBytesTest, TwoDigitsAByte) { EXPECT_EQ(HexBytes(std::string("h\0\xff", 3)), "68 00 ff"); }

TEST(OneLineTest, KeepsTextAndEscapesControlCharacters) {
  EXPECT_EQ(OneLine("Grüße \"quoted\"\n  at line 2\x1b[0m"),
            "Grüße \"quoted\"\\n  at line 2\\x1b[0m");
}

}  // namespace
}  // namespace snakepit
