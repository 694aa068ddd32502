#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>

#include "snakepit/worker.h"
#include "src/worker/call_state.h"

namespace snakepit {
namespace {

using namespace std::chrono_literals;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class CallTest : public ::testing::Test {
 protected:
  CallTest() {
    state_.args = Value::Map{{"count", 7},
                             {"large", UINT64_MAX},
                             {"seconds", 0.5},
                             {"nan", kNaN},
                             {"flag", true},
                             {"name", "Ada"},
                             {"none", nullptr},
                             {"data", Bytes{"\xff"}},
                             {"list", Value::Array{1}},
                             {"map", Value::Map{{"a", 1}}}};
  }

  CallState state_;
  const Call call_{state_};
};

template <typename Read>
std::string RefusalOf(Read read) {
  try {
    (void)read();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "none";
}

TEST_F(CallTest, ArgumentsAreReadByKind) {
  EXPECT_EQ(call_.Integer("count"), 7);
  EXPECT_EQ(call_.Integer("count", 1), 7);
  EXPECT_EQ(call_.Number("seconds"), 0.5);
  EXPECT_EQ(call_.Number("count"), 7);
  EXPECT_EQ(call_.Number("large"), 18446744073709551615.0);
  EXPECT_TRUE(call_.Bool("flag"));
  EXPECT_EQ("Hello, " + call_.Text("name", "world"), "Hello, Ada");
  EXPECT_EQ(call_.Bytes("data"), "\xff");
  EXPECT_EQ(call_.Array("list"), Value::Array{1});
  EXPECT_EQ(call_.Map("map"), (Value::Map{{"a", 1}}));
}

TEST_F(CallTest, AMissingArgumentIsOtherwiseOrRefused) {
  EXPECT_EQ(call_.Integer("x", 5), 5);
  EXPECT_EQ(call_.Number("x", 1.5), 1.5);
  EXPECT_FALSE(call_.Bool("x", false));
  EXPECT_EQ("Hello, " + call_.Text("x", "world"), "Hello, world");
  const std::string missing = "\"x\" is missing";
  EXPECT_EQ(RefusalOf([&] { return call_.Integer("x"); }), missing);
  EXPECT_EQ(RefusalOf([&] { return call_.Number("x", {}, {.min = 0}); }), missing);
  EXPECT_EQ(RefusalOf([&] { return call_.Bool("x"); }), missing);
  EXPECT_EQ(RefusalOf([&] { return call_.Text("x"); }), missing);
  EXPECT_EQ(RefusalOf([&] { return call_.Bytes("x"); }), missing);
  EXPECT_EQ(RefusalOf([&] { return call_.Array("x"); }), missing);
  EXPECT_EQ(RefusalOf([&] { return call_.Map("x"); }), missing);
}

TEST_F(CallTest, AnArgumentOfAnotherKindIsRefusedThoughOptional) {
  EXPECT_EQ(RefusalOf([&] { return call_.Integer("name", 5); }),
            "\"name\" must be an integer, not \"Ada\"");
  EXPECT_EQ(RefusalOf([&] { return call_.Integer("none", 5); }),
            "\"none\" must be an integer, not null");
  EXPECT_EQ(RefusalOf([&] { return call_.Number("name", 5); }),
            "\"name\" must be a number, not \"Ada\"");
  EXPECT_EQ(RefusalOf([&] { return call_.Bool("count", true); }),
            "\"count\" must be true or false, not 7");
  EXPECT_EQ(RefusalOf([&] { return call_.Text("count", "x"); }), "\"count\" must be a text, not 7");
  EXPECT_EQ(RefusalOf([&] { return call_.Bytes("name"); }), "\"name\" must be bytes, not \"Ada\"");
  EXPECT_EQ(RefusalOf([&] { return call_.Array("map"); }),
            "\"map\" must be an array, not {\"a\":1}");
  EXPECT_EQ(RefusalOf([&] { return call_.Map("list"); }), "\"list\" must be a map, not [1]");
}

TEST_F(CallTest, ANumberOutOfItsRangeIsRefused) {
  EXPECT_EQ(call_.Integer("count", {}, {.min = 7, .max = 7}), 7);
  EXPECT_EQ(RefusalOf([&] { return call_.Integer("count", {}, {.min = 1, .max = 6}); }),
            "\"count\" must be an integer from 1 to 6, not 7");
  EXPECT_EQ(RefusalOf([&] { return call_.Integer("count", 9, {.min = 8}); }),
            "\"count\" must be an integer of at least 8, not 7");
  EXPECT_EQ(RefusalOf([&] { return call_.Integer("name", 9, {.max = 6}); }),
            "\"name\" must be an integer up to 6, not \"Ada\"");
  EXPECT_EQ(RefusalOf([&] { return call_.Integer("large"); }),
            "\"large\" must be an integer up to 9223372036854775807, not 18446744073709551615");
  EXPECT_EQ(call_.Number("seconds", {}, {.min = 0.5, .max = 0.5}), 0.5);
  EXPECT_EQ(RefusalOf([&] { return call_.Number("seconds", {}, {.min = 0.75, .max = 1.5}); }),
            "\"seconds\" must be a number from 0.75 to 1.5, not 0.5");
  EXPECT_NE(RefusalOf([&] { return call_.Number("nan", {}, {.min = 0}); }), "none");
  EXPECT_NE(RefusalOf([&] { return call_.Number("nan"); }), "none");
}

TEST_F(CallTest, AWaitIsTrueOnlyIfItTookItsWholeTime) {
  const auto wait = [](int64_t timeout_ms, std::chrono::nanoseconds duration) {
    CallState state;
    state.LimitTime(timeout_ms);
    const auto began = std::chrono::steady_clock::now();
    const bool whole = Call(state).Wait(duration);
    const auto took = std::chrono::steady_clock::now() - began;
    EXPECT_TRUE(!whole || took >= duration);
    EXPECT_TRUE(whole || took >= std::chrono::milliseconds(timeout_ms));
    EXPECT_FALSE(Call(state).cancelled());
    return whole;
  };
  EXPECT_TRUE(wait(0, 0ns));
  EXPECT_TRUE(wait(0, 10ms));
  EXPECT_TRUE(wait(600'000, 10ms));
  EXPECT_FALSE(wait(20, 1h));
  EXPECT_FALSE(wait(-5, 0ns));
  EXPECT_FALSE(wait(-5, 1h));
}

TEST_F(CallTest, AWaitMayBeLongerThanNanosecondsCanSay) {
  CallState state;
  state.LimitTime(20);
  EXPECT_FALSE(Call(state).Wait(std::chrono::milliseconds(INT64_MAX)));
  EXPECT_FALSE(Call(state).Wait(std::chrono::duration<double>(1e300)));
  EXPECT_FALSE(Call(state).Wait(std::chrono::milliseconds(INT64_MIN)));
}

TEST_F(CallTest, AWaitEndsWhenTheCallerGivesUp) {
  std::thread caller([this] { state_.stop.request_stop(); });
  EXPECT_FALSE(call_.Wait(1h));
  caller.join();
  EXPECT_FALSE(call_.Wait(0ns));
}

}  // namespace
}  // namespace snakepit
