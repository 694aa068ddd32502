// SplitMix64: a small, fast generator of random numbers. Not for secrets.
#ifndef SNAKEPIT_BASE_SPLITMIX64_H_
#define SNAKEPIT_BASE_SPLITMIX64_H_

#include <cstdint>

namespace snakepit {

// The next number. `state` begins with any seed.
inline uint64_t SplitMix64(uint64_t& state) {
  uint64_t x = state += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_SPLITMIX64_H_
