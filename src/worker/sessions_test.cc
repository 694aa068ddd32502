#include "src/worker/sessions.h"

#include <gtest/gtest.h>

#include <string>

namespace snakepit {
namespace {

using namespace std::chrono_literals;

class SessionsTest : public ::testing::Test {
 protected:
  void Set(const std::string& id, int64_t value) {
    const auto state = sessions_.Use(id);
    const MutexLock lock(state->mutex);
    state->value = value;
  }
  Value Get(const std::string& id) { return ValueOf(*sessions_.Use(id)); }
  static Value ValueOf(SessionState& state) {
    const MutexLock lock(state.mutex);
    return state.value;
  }

  std::chrono::steady_clock::time_point now_;
  Sessions sessions_{[this] { return now_; }};
};

TEST_F(SessionsTest, KeepsAStateForEachUntilItsEnd) {
  Set("a", 1);
  Set("b", 2);
  EXPECT_EQ(Get("a"), Value(1));
  EXPECT_EQ(Get("b"), Value(2));
  const auto held = sessions_.Use("a");
  sessions_.End("a");
  sessions_.End("unknown");
  EXPECT_EQ(Get("a"), Value());
  // The calls that have it keep it.
  EXPECT_EQ(ValueOf(*held), Value(1));
  EXPECT_EQ(sessions_.size(), 2u);
}

TEST_F(SessionsTest, ForgetsWhatWasNotUsedForAnHour) {
  Set("a", 1);
  now_ += 40min;
  Set("b", 2);
  EXPECT_EQ(Get("a"), Value(1));
  now_ += 40min;
  EXPECT_EQ(Get("a"), Value(1));
  now_ += 30min;
  EXPECT_EQ(sessions_.size(), 1u);
  EXPECT_EQ(Get("b"), Value());
  EXPECT_EQ(Get("a"), Value(1));
}

TEST_F(SessionsTest, KeepsTheOnesUsedLast) {
  for (size_t i = 0; i < kMaxSessions; ++i) Set(std::to_string(i), 1);
  EXPECT_EQ(Get("0"), Value(1));
  Set("one more", 1);
  EXPECT_EQ(sessions_.size(), kMaxSessions);
  EXPECT_EQ(Get("0"), Value(1));
  EXPECT_EQ(Get("1"), Value());
}

}  // namespace
}  // namespace snakepit
