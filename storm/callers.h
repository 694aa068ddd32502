// Callers: threads that call the pool all the time, each as its own generator says.
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

// The limits of most calls, and of those that the storm itself makes.
inline constexpr Time kLeastTimeout = std::chrono::milliseconds(1'000);
inline constexpr Time kMostTimeout = std::chrono::milliseconds(2'000);

class Callers {
 public:
  Callers(Pool& pool, Recorder& recorder, uint64_t seed, int count);

  // A round of calls, until Stop; `round` makes its draws differ.
  void Start(int round);
  // No caller makes another call. Follow it by Recorder::AwaitOutcomes, and that by Join.
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
