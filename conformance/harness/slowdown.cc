#include "conformance/harness/slowdown.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace snakepit::conformance {
namespace {

// Time of the work below on an idle processor of the calibration machine. Frozen.
constexpr double kNominalSeconds = 0.030;
constexpr int kSteps = 12'000'000;

}  // namespace

double MeasureSlowdown() {
  // Wall time, since a shared processor counts as a slower one.
  const auto start = std::chrono::steady_clock::now();
  uint64_t state = 88172645463325252;
  for (int i = 0; i < kSteps; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
  }
  volatile uint64_t sink = state;  // keeps the work from being optimised away
  (void)sink;
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return std::clamp(time.count() / kNominalSeconds, 1.0, 20.0);
}

}  // namespace snakepit::conformance
