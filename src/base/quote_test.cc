#include "src/base/quote.h"

#include <gtest/gtest.h>

#include <string>

#include "src/base/utf8.h"

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

TEST(PrintableTest, KeepsTextAndEscapesControlCharacters) {
  EXPECT_EQ(Printable("Grüße \"quoted\"\n  at line 2\x1b[0m\r\t"),
            "Grüße \"quoted\"\\n  at line 2\\x1b[0m\\r\\t");
  EXPECT_EQ(Printable(std::string("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(Printable(""), "");
}

TEST(PrintableTest, EscapesInvisibleCharactersAndDirections) {
  EXPECT_EQ(Printable("a\u009b2Kb"), "a\\u009b2Kb");
  EXPECT_EQ(Printable("\u061c\u200e\u200f\u202a\u202e\u2066\u2069"),
            "\\u061c\\u200e\\u200f\\u202a\\u202e\\u2066\\u2069");
  EXPECT_EQ(Printable("\u2028\u2029\u200b\u2060\ufeff\u00ad\u180e\ufff9"),
            "\\u2028\\u2029\\u200b\\u2060\\ufeff\\u00ad\\u180e\\ufff9");
  EXPECT_EQ(Printable("\U000e0041"), "\\U000e0041");
}

// The neighbours of each range, and everyday text.
TEST(PrintableTest, KeepsAllElse) {
  for (const char* text :
       {"\u00a0", "\u00ac\u00ae", "\u061b\u061d", "\u180d\u180f", "\u200a\u2010", "\u2027\u202f",
        "\u205f\u2070", "\ufefe\uff01", "\ufff8\ufffc\uFFFD", "\U000dffff\U000e0080",
        "日本語 עברית العربية हिन्दी 😀 é ❤️"}) {
    EXPECT_EQ(Printable(text), text);
    EXPECT_EQ(PrintableJson(text), text);
  }
}

TEST(PrintableTest, BytesThatAreNoUtf8AreReplaced) {
  EXPECT_EQ(Printable("a\xff\xe2\x82z"), "a\uFFFD\uFFFD\uFFFDz");
}

TEST(PrintableTest, SafeTextStaysAsItIs) {
  const std::string once = Printable("\n\\n\x1b\xff\u202e\U000e0001");
  EXPECT_EQ(Printable(once), once);
}

TEST(PrintableJsonTest, EscapesAsJsonDoes) {
  EXPECT_EQ(PrintableJson("{\"\u202e\":\"\u009b\x7f\\n\U000e0041\"}"),
            "{\"\\u202e\":\"\\u009b\\u007f\\n\\udb40\\udc41\"}");
  EXPECT_EQ(PrintableJson("[1,\"é\"]"), "[1,\"é\"]");
}

TEST(CutTextTest, SaysHowMuchIsMissing) {
  const std::string text(200, 'x');
  EXPECT_EQ(CutText(text, 200), text);
  EXPECT_EQ(CutText(text, 120), std::string(86, 'x') + " [114 bytes more]");
  EXPECT_EQ(Excerpt("\x1b" + text, 120), "\\x1b" + std::string(85, 'x') + " [115 bytes more]");
}

TEST(CutTextTest, CutsBetweenCharacters) {
  for (int before = 0; before < 4; ++before) {
    std::string text(before, 'x');
    for (int i = 0; i < 100; ++i) text += "😀";
    const std::string cut = CutText(text, 150);
    EXPECT_LE(cut.size(), 150u);
    EXPECT_GT(cut.size(), 110u);
    EXPECT_EQ(RepairUtf8(cut), cut);
  }
}

TEST(CutTextTest, ACutTextIsNotCutAgain) {
  const std::string once = CutText(std::string(100'000, 'x'), 1000);
  EXPECT_EQ(CutText(once, 1000), once);
}

TEST(CutTextTest, TheMarkCountsTheBytesOfAllCuts) {
  const std::string text(100'000, 'x');
  EXPECT_EQ(CutText("why: " + CutText(text, 1000), 500), CutText("why: " + text, 500));
  for (const char* end : {" [ bytes more]", " [-1 bytes more]", " [1x bytes more]", " bytes more]",
                          " [99999999999 bytes more]"}) {
    EXPECT_EQ(CutText(std::string(1000, 'x') + end, 500).substr(0, 466), std::string(466, 'x'));
  }
}

constexpr char kSecret[] = "0123456789abcdef0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789abcdeA";

TEST(QuotedTest, IsSafeToShow) { EXPECT_EQ(Quoted("a b\x1b"), R"("a b\x1b")"); }

TEST(ShellQuoteTest, QuotesWordsThatAShellWouldChange) {
  EXPECT_EQ(ShellQuote("/a/b-c_d.py"), "/a/b-c_d.py");
  EXPECT_EQ(ShellQuote("--name=x:1,2+3@4%"), "--name=x:1,2+3@4%");
  EXPECT_EQ(ShellQuote(""), "''");
  EXPECT_EQ(ShellQuote("{port}"), "'{port}'");
  EXPECT_EQ(ShellQuote("it's $HOME"), R"('it'\''s $HOME')");
}

TEST(HideSecretTest, ReplacesItWhereverItStands) {
  const std::string secret = kSecret;
  EXPECT_EQ(HideSecret("token=" + secret + ", again " + secret + secret + "!", secret),
            "token=[the worker's token], again [the worker's token][the worker's token]!");
  EXPECT_EQ(HideSecret("0a" + secret + "b1", secret), "0a[the worker's token]b1");
}

TEST(HideSecretTest, ReplacesALongPartOfIt) {
  const std::string secret = kSecret;
  EXPECT_EQ(HideSecret("t " + secret.substr(0, 16) + " [9 bytes more]", secret),
            "t [the worker's token] [9 bytes more]");
  EXPECT_EQ(HideSecret(secret.substr(40), secret), "[the worker's token]");
  // The longer one of two that begin alike.
  EXPECT_EQ(HideSecret(secret.substr(0, 20) + "-", secret), "[the worker's token]-");
}

TEST(HideSecretTest, ChangesNothingElse) {
  const std::string secret = kSecret;
  for (const std::string& text :
       {std::string(), secret.substr(0, 15), std::string("fedcba9876543210fedcba9876543210"),
        std::string("no secret at all"), secret.substr(0, 15) + "x" + secret.substr(15, 15)}) {
    EXPECT_EQ(HideSecret(text, secret), text);
  }
  EXPECT_EQ(HideSecret(secret, ""), secret);
}

}  // namespace
}  // namespace snakepit
