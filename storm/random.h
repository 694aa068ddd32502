// Random: draws from a seed. Each thread of a storm has a generator of its own.
#ifndef SNAKEPIT_STORM_RANDOM_H_
#define SNAKEPIT_STORM_RANDOM_H_

#include <chrono>
#include <cstdint>
#include <random>

namespace snakepit::storm {

class Random {
 public:
  // `stream`: makes the generators of one seed differ.
  Random(uint64_t seed, uint64_t stream) {
    std::seed_seq sequence{seed >> 32, seed & 0xffffffff, stream >> 32, stream & 0xffffffff};
    engine_.seed(sequence);
  }

  // A number from `least` to `most`, both included.
  int64_t Between(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(engine_);
  }
  std::chrono::milliseconds Milliseconds(int64_t least, int64_t most) {
    return std::chrono::milliseconds(Between(least, most));
  }
  bool Percent(int percent) { return Between(1, 100) <= percent; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_RANDOM_H_
