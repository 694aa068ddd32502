#include "src/process/output_tail.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace snakepit {
namespace {

std::string TailOf(std::string_view bytes, size_t tail_bytes) {
  OutputTail tail({.tail_bytes = tail_bytes});
  tail.Append(bytes);
  // The same bytes one at a time.
  OutputTail slow({.tail_bytes = tail_bytes});
  for (const char byte : bytes) slow.Append(std::string_view(&byte, 1));
  EXPECT_EQ(tail.Text(), slow.Text());
  return tail.Text();
}

std::vector<std::string> LinesOf(std::vector<std::string_view> pieces, size_t line_bytes = 1024) {
  std::vector<std::string> lines;
  OutputTail tail({.line_bytes = line_bytes},
                  [&lines](std::string_view line) { lines.emplace_back(line); });
  for (const std::string_view piece : pieces) tail.Append(piece);
  tail.Finish();
  return lines;
}

using Lines = std::vector<std::string>;

TEST(OutputTail, IsEmptyAtFirst) { EXPECT_EQ(OutputTail().Text(), ""); }

TEST(OutputTail, KeepsShortOutput) {
  EXPECT_EQ(TailOf("one\ntwo", 100), "one\ntwo");
  EXPECT_EQ(TailOf("one\r\n\ntwo\r\n\n", 100), "one\r\n\ntwo");
}

TEST(OutputTail, IsCutAtTheStartOfALine) {
  EXPECT_EQ(TailOf("first\nsecond\nthird\n", 9), "third");
  EXPECT_EQ(TailOf("first\nsecond\nthird", 12), "second\nthird");  // exactly two lines
  EXPECT_EQ(TailOf("first\nsecond\nthird", 11), "third");
}

TEST(OutputTail, IsCutInsideALineThatIsTooLong) {
  EXPECT_EQ(TailOf("0123456789", 4), "6789");
  EXPECT_EQ(TailOf("0123456789\n", 4), "6789");
}

TEST(OutputTail, IsNotCutInsideACharacter) {
  EXPECT_EQ(TailOf("\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC", 5), "\xE2\x82\xAC");
}

TEST(OutputTail, ShowsInvalidBytesAsReplacement) {
  EXPECT_EQ(TailOf("a\xFF"
                   "b",
                   100),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(TailOf("\xED\xA0\x80", 100), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
  EXPECT_EQ(TailOf("\xC0\x80", 100), "\xEF\xBF\xBD\xEF\xBF\xBD");                  // overlong
  EXPECT_EQ(TailOf("end \xE2\x82", 100), "end \xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(OutputTail, IsBoundedWhateverTheBytes) {
  OutputTail tail;
  for (int i = 0; i < 100; ++i) tail.Append(std::string(10'000, '\xFF'));
  EXPECT_LE(tail.Text().size(), 4096u);
  EXPECT_GE(tail.Text().size(), 4090u);
}

TEST(OutputTail, GivesLinesAsTheyComplete) {
  EXPECT_EQ(LinesOf({"on", "e\ntw", "o\r\n", "\n", "three"}), (Lines{"one", "two", "", "three"}));
  EXPECT_EQ(LinesOf({"one\n"}), Lines{"one"});
  EXPECT_EQ(LinesOf({}), Lines{});
}

TEST(OutputTail, CutsALongLineWithAMark) {
  EXPECT_EQ(LinesOf({"0123456789\nnext\n"}, 4), (Lines{"0123 [6 bytes more]", "next"}));
  EXPECT_EQ(LinesOf({"0123\n"}, 4), Lines{"0123"});
  EXPECT_EQ(LinesOf({"01\xE2\x82\xAC"
                     "4\n"},
                    4),
            Lines{"01 [4 bytes more]"});
}

TEST(OutputTail, LinesAreValidUtf8) {
  EXPECT_EQ(LinesOf({"a\xFF"
                     "b\n"}),
            Lines{"a\xEF\xBF\xBD"
                  "b"});
}

}  // namespace
}  // namespace snakepit
