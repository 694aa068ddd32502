// The core's state as the figures of the public API. Pure functions.
#ifndef SNAKEPIT_POOL_FIGURES_H_
#define SNAKEPIT_POOL_FIGURES_H_

#include <utility>
#include <vector>

#include "snakepit/stats.h"
#include "src/core/core.h"

namespace snakepit {

// All but the counts of calls and the last error of a start.
PoolStats FiguresOf(const Core& core, Core::Time now);

// The workers in the order of Pool::Workers, each with its latest process. The details of the
// process are left out.
std::vector<std::pair<ProcessNumber, WorkerInfo>> WorkersOf(const Core& core);

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_FIGURES_H_
