// Runs seeds, and shortens the trace of a seed that fails.
#ifndef SNAKEPIT_CORE_SIMULATION_SIMULATOR_H_
#define SNAKEPIT_CORE_SIMULATION_SIMULATOR_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/core/simulation/step.h"

namespace snakepit::simulation {

inline constexpr int kSteps = 1'000;

struct Outcome {
  int64_t events = 0;                    // told to the core
  std::optional<std::string> violation;  // the broken invariant
};

// Runs steps on the pool of that seed. `story`, if not null, gets a line for each event.
Outcome RunSteps(uint64_t seed, const std::vector<Step>& steps, std::string* story = nullptr);
Outcome RunSeed(uint64_t seed);

// Returns fewer of a failing seed's steps that fail, too: none of them can be left out.
std::vector<Step> Shrink(uint64_t seed, std::vector<Step> steps);

// Describes the failure of a seed for people: the violation, the pool, and a short trace.
std::string Explain(uint64_t seed);

}  // namespace snakepit::simulation

#endif  // SNAKEPIT_CORE_SIMULATION_SIMULATOR_H_
