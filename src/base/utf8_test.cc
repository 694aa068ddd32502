#include "src/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace snakepit {
namespace {

TEST(Utf8Test, RepairReplacesNothingButInvalidBytes) {
  EXPECT_EQ(RepairUtf8("a€"), "a€");
  EXPECT_EQ(RepairUtf8("a\xff\xe2\x82z"), "a\uFFFD\uFFFD\uFFFDz");
  EXPECT_EQ(RepairUtf8("\xe2\x82"), "\uFFFD\uFFFD");
  EXPECT_EQ(RepairUtf8(""), "");
}

TEST(Utf8Test, APrefixEndsBetweenCharacters) {
  EXPECT_EQ(Utf8Prefix("abc", 3), "abc");
  EXPECT_EQ(Utf8Prefix("abcd", 3), "abc");
  EXPECT_EQ(Utf8Prefix("a€", 3), "a");
  EXPECT_EQ(Utf8Prefix("a€b", 4), "a€");
  EXPECT_EQ(Utf8Prefix("😀x", 3), "");
  EXPECT_EQ(Utf8Prefix("😀x", 4), "😀");
  EXPECT_EQ(Utf8Prefix("", 0), "");
  EXPECT_EQ(Utf8Prefix("é", 0), "");
}

// It ends, and returns no more than asked for, whatever the bytes are.
TEST(Utf8Test, APrefixOfInvalidBytesIsCutAtTheLimit) {
  EXPECT_EQ(Utf8Prefix("\x80\x80\x80\x80\x80", 4), "\x80\x80\x80\x80");
  EXPECT_EQ(Utf8Prefix("\x80\x80", 1), "\x80");
  EXPECT_EQ(Utf8Prefix("ab\xf0\x80z", 4), "ab\xf0\x80");
}

}  // namespace
}  // namespace snakepit
