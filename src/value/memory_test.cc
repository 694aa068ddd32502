#include "src/value/memory.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <string>

namespace snakepit {
namespace {

size_t AllocatedBytes() { return mallinfo2().uordblks; }

// The allocator adds 8 bytes to each block and rounds it up to a multiple of 16, so it is over, but
// by less than the half of small blocks. Some of them may come from its cache, which it counts as
// in use.
void ExpectNearTheTruth(const Value& value) {
  constexpr size_t kCached = 1024;
  const size_t before = AllocatedBytes();
  const Value copy = value;
  const size_t truth = AllocatedBytes() - before;
  const size_t heap = MemoryBytes(copy) - sizeof(Value);
  EXPECT_LE(heap, truth + kCached);
  EXPECT_GE(heap + kCached, truth / 3 * 2) << truth;
}

// The bound on what a message decodes to (decode_budget.h) is worth what these are.
TEST(MemoryBytes, OfANullIs16InAnArrayAnd80InAMap) {
  const auto of_nulls_in_array = [](size_t n) { return MemoryBytes(Value(Value::Array(n))); };
  EXPECT_EQ(of_nulls_in_array(1000) - of_nulls_in_array(0), 16'000u);
  const Value::Map map = {{"a", nullptr}, {"b", nullptr}};
  EXPECT_EQ(MemoryBytes(Value(map)) - MemoryBytes(Value(Value::Map())), 2 * 80u);
}

TEST(MemoryBytes, IsWhatTheAllocatorGivesButForItsOwnPart) {
  EXPECT_EQ(MemoryBytes(Value()), sizeof(Value));
  EXPECT_EQ(MemoryBytes(Value("short")), sizeof(Value) + sizeof(std::string));
  ExpectNearTheTruth(Value(std::string(100'000, 'x')));
  ExpectNearTheTruth(Value(Bytes{std::string(50'000, 'x')}));
  ExpectNearTheTruth(Value(Value::Array(1000)));
  Value::Map map;
  for (int i = 0; i < 1000; ++i) map[std::string(i % 50, 'k') + std::to_string(i)] = i;
  ExpectNearTheTruth(Value(map));
  ExpectNearTheTruth(Value(Value::Array(10, Value(map))));
}

}  // namespace
}  // namespace snakepit
