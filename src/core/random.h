// A small generator of pseudo-random numbers: splitmix64. The seed decides all of them.
#ifndef SNAKEPIT_CORE_RANDOM_H_
#define SNAKEPIT_CORE_RANDOM_H_

#include <cstdint>

#include "src/base/splitmix64.h"

namespace snakepit {

class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}

  uint64_t Next() { return SplitMix64(state_); }
  // From 0 to `limit`, both included.
  uint64_t UpTo(uint64_t limit) { return Next() % (limit + 1); }
  // From 0 to `limit` - 1. Without a division.
  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>((Next() >> 32) * limit >> 32); }

 private:
  uint64_t state_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_RANDOM_H_
