// What may happen to a core, as a list of steps that follows from a seed.
#ifndef SNAKEPIT_CORE_SIMULATION_STEP_H_
#define SNAKEPIT_CORE_SIMULATION_STEP_H_

#include <cstdint>
#include <string_view>
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
  kStale,  // what an earlier process has to say
  kRestart,
  kResize,
  kClose,
  kStop,
};

std::string_view OpName(Op op);

// What `a` and `b` choose is up to what there is when the step is taken: call `a` modulo the calls,
// say. So a list of steps stays one when some are left out, which is what makes it shrink; a step
// that finds nothing to choose from does nothing.
struct Step {
  Op op;
  uint32_t a;
  uint32_t b;
};

// splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>((Next() >> 32) * limit >> 32); }

 private:
  uint64_t state_;
};

// One of the many kinds of pool: few workers and small limits, so that all of them are met.
PoolOptions MakeOptions(uint64_t seed);

std::vector<Step> MakeSteps(uint64_t seed, int count);

}  // namespace snakepit::simulation

#endif  // SNAKEPIT_CORE_SIMULATION_STEP_H_
