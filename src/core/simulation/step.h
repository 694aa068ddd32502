// The events of a simulated core, as a list of steps that a seed decides.
#ifndef SNAKEPIT_CORE_SIMULATION_STEP_H_
#define SNAKEPIT_CORE_SIMULATION_STEP_H_

#include <cstdint>
#include <vector>

#include "snakepit/options.h"

namespace snakepit::simulation {

enum class Op : uint8_t {
  kSubmit,
  kEndCall,
  kCancel,
  kEndSession,
  kReady,
  kExit,
  kLoseConnection,
  kGiveUp,
  kReportHealth,
  kReportMemory,
  kPass,
  kStale,  // news of a process that has ended
  kRestart,
  kResize,
  kClose,
  kStop,
};

// `a` and `b` choose from the things that are there when the step is taken: call `a` modulo the
// number of calls, for example. So a list of steps stays valid when some are left out, and can
// shrink. A step that finds nothing to choose from does nothing.
struct Step {
  Op op;
  uint32_t a;
  uint32_t b;
};

// The options of the seed's pool: few workers and small limits, so that all limits are met.
PoolOptions MakeOptions(uint64_t seed);

std::vector<Step> MakeSteps(uint64_t seed, int count);

}  // namespace snakepit::simulation

#endif  // SNAKEPIT_CORE_SIMULATION_STEP_H_
