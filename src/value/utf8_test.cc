#include "src/value/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace snakepit {
namespace {

// The slow, obvious way.
bool IsUtf8BySequences(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = Utf8SequenceLength(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

TEST(Utf8Test, KnownSequences) {
  EXPECT_EQ(Utf8SequenceLength(""), 0u);
  EXPECT_EQ(Utf8SequenceLength("a"), 1u);
  EXPECT_EQ(Utf8SequenceLength("é!"), 2u);
  EXPECT_EQ(Utf8SequenceLength("€"), 3u);
  EXPECT_EQ(Utf8SequenceLength("😀"), 4u);
  EXPECT_EQ(Utf8SequenceLength("\xf4\x8f\xbf\xbf"), 4u);
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe2\x82", "\xe0\x80\x80", "\xed\xa0\x80",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xff", "\xc3("}) {
    EXPECT_EQ(Utf8SequenceLength(bad), 0u);
    EXPECT_FALSE(IsUtf8(bad));
  }
}

TEST(Utf8Test, BothWaysAgreeOnAllShortStringsOfTellingBytes) {
  // The edges of every range of table 3-7.
  const std::string bytes(
      "\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xdf\xe0\xec\xed\xef\xf0\xf3\xf4\xf5\xff", 20);
  std::string text(4, 0);
  for (char a : bytes) {
    for (char b : bytes) {
      for (char c : bytes) {
        for (char d : bytes) {
          text = {a, b, c, d};
          ASSERT_EQ(IsUtf8(text), IsUtf8BySequences(text));
        }
      }
    }
  }
}

TEST(Utf8Test, AFaultAfterALongTextIsFound) {
  const std::string text(100, 'x');
  EXPECT_TRUE(IsUtf8(text));
  EXPECT_FALSE(IsUtf8(text + "\xff"));
}

}  // namespace
}  // namespace snakepit
