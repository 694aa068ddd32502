#include "src/base/splitmix64.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

TEST(SplitMix64Test, GivesTheNumbersOfTheReferenceImplementation) {
  uint64_t state = 1'234'567;
  EXPECT_EQ(SplitMix64(state), 6457827717110365317u);
  EXPECT_EQ(SplitMix64(state), 3203168211198807973u);
  EXPECT_EQ(SplitMix64(state), 9817491932198370423u);
}

}  // namespace
}  // namespace snakepit
