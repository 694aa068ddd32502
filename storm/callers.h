// Callers: threads that call the pool without pause, each with its own random generator.
#ifndef SNAKEPIT_STORM_CALLERS_H_
#define SNAKEPIT_STORM_CALLERS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "storm/random.h"
#include "storm/recorder.h"

namespace snakepit::storm {

// Timeouts of most calls, and of those that the storm itself makes.
inline constexpr Time kLeastTimeout = std::chrono::milliseconds(1'000);
inline constexpr Time kMostTimeout = std::chrono::milliseconds(2'000);

class Callers {
 public:
  Callers(Pool& pool, Recorder& recorder, uint64_t seed, int count);

  // Begins a round of calls, until Stop. `round` makes its draws differ.
  void Start(int round);
  // Lets no caller make another call. Recorder::AwaitOutcomes and then Join come after it.
  void Stop() { stopping_ = true; }
  void Join();

 private:
  class Caller;

  Pool& pool_;
  Recorder& recorder_;
  const uint64_t seed_;
  const int count_;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_CALLERS_H_
