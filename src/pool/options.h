// Checks and completes what a user asks of a pool.
#ifndef SNAKEPIT_POOL_OPTIONS_H_
#define SNAKEPIT_POOL_OPTIONS_H_

#include <chrono>

#include "snakepit/pool.h"

namespace snakepit {

// Of what a user sets: more would not do as a point in time.
inline constexpr std::chrono::milliseconds kLongestTimeout = std::chrono::hours(24);

inline constexpr int kMaxWorkers = 1000;

// The options with their defaults filled in, or INVALID_ARGUMENT naming the one that cannot be.
Result<PoolOptions> Complete(PoolOptions options);

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_OPTIONS_H_
