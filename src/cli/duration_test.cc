#include "src/cli/duration.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

TEST(ParseDuration, TakesUnitsAndPlainSeconds) {
  EXPECT_EQ(ParseDuration("250ms"), milliseconds(250));
  EXPECT_EQ(ParseDuration("30s"), milliseconds(30'000));
  EXPECT_EQ(ParseDuration("2m"), milliseconds(120'000));
  EXPECT_EQ(ParseDuration("5"), milliseconds(5'000));
  EXPECT_EQ(ParseDuration("0.5"), milliseconds(500));
  EXPECT_EQ(ParseDuration("1.5s"), milliseconds(1'500));
  EXPECT_EQ(ParseDuration("1440m"), milliseconds(86'400'000));
}

TEST(ParseDuration, RefusesNonsense) {
  for (const char* text :
       {"",     "s",     "ms",     ".",    "soon", "10 s",  " 10s",
        "10s ", "10sec", "1h",     "-1s",  "+1s",  "1e3",   "0x10",
        "inf",  "nan",   "1.2.3s", "1,5s", "5S",   "10ms5", "99999999999999999999999999s"}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
}

TEST(ParseDuration, RefusesLessThanAMillisecondOrMoreThanADay) {
  EXPECT_EQ(ParseDuration("0"), std::nullopt);
  EXPECT_EQ(ParseDuration("0.1ms"), std::nullopt);
  EXPECT_EQ(ParseDuration("1440.01m"), std::nullopt);
}

TEST(FormatDuration, KeepsAboutThreeDigits) {
  EXPECT_EQ(FormatDuration(nanoseconds(93'412)), "0.093 ms");
  EXPECT_EQ(FormatDuration(nanoseconds(1'234'567)), "1.23 ms");
  EXPECT_EQ(FormatDuration(nanoseconds(12'345'678)), "12.3 ms");
  EXPECT_EQ(FormatDuration(milliseconds(131)), "131 ms");
  EXPECT_EQ(FormatDuration(milliseconds(4'200)), "4.20 s");
}

TEST(DurationFlag, CanBeParsed) {
  for (int64_t ms : {1, 250, 1'000, 30'000, 61'000, 120'000}) {
    EXPECT_EQ(ParseDuration(DurationFlag(milliseconds(ms))), milliseconds(ms)) << ms;
  }
}

}  // namespace
}  // namespace snakepit
