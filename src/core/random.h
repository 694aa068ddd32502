// A small generator of pseudo-random numbers: splitmix64. The seed decides all of them.
#ifndef SNAKEPIT_CORE_RANDOM_H_
#define SNAKEPIT_CORE_RANDOM_H_

#include <cstdint>

namespace snakepit {

class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t x = state_ += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }
  // From 0 to `limit`, both included.
  uint64_t UpTo(uint64_t limit) { return Next() % (limit + 1); }
  // From 0 to `limit` - 1. Without a division.
  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>((Next() >> 32) * limit >> 32); }

 private:
  uint64_t state_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_RANDOM_H_
