#include "snakepit/error.h"

#include <gtest/gtest.h>

#include <csignal>
#include <set>
#include <string>

namespace snakepit {
namespace {

TEST(ErrorCodeTest, EveryCodeHasItsOwnNameThatLeadsBack) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    EXPECT_EQ(ErrorCodeFromName(ErrorCodeName(code)), code);
    names.insert(ErrorCodeName(code));
  }
  EXPECT_EQ(names.size(), 16u);
  EXPECT_TRUE(names.contains("DEADLINE_EXCEEDED"));
}

TEST(ErrorCodeTest, OtherTextsAreNoCodes) {
  EXPECT_EQ(ErrorCodeFromName(""), std::nullopt);
  EXPECT_EQ(ErrorCodeFromName("deadline_exceeded"), std::nullopt);
  EXPECT_EQ(ErrorCodeFromName("INTERNAL "), std::nullopt);
}

TEST(DescribeTest, ExitCodesAndSignals) {
  EXPECT_EQ(Describe({.code = 3}), "exit code 3");
  EXPECT_EQ(Describe({.signal = SIGKILL}), "signal 9 (Killed)");
  EXPECT_EQ(Describe({.signal = 1000}), "signal 1000 (unknown)");
}

TEST(ErrorTest, ToStringIsCodeAndMessage) {
  const Result<int> result = Fail(ErrorCode::kWorkerLost, "worker 2 (pid 77) ended");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().ToString(), "WORKER_LOST: worker 2 (pid 77) ended");
}

}  // namespace
}  // namespace snakepit
