// Runs seeds, and makes a short trace of one that fails.
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
  int64_t events = 0;                    // that the core was told
  std::optional<std::string> violation;  // what was not as it must be
};

// Steps of a seed, on the pool of that seed. `story` gets what happened, if not null.
Outcome RunSteps(uint64_t seed, const std::vector<Step>& steps, std::string* story = nullptr);
Outcome RunSeed(uint64_t seed);

// Fewer of a failing seed's steps that fail, too: none can be left out any more.
std::vector<Step> Shrink(uint64_t seed, std::vector<Step> steps);

// The failure of a seed for people: what is wrong, the pool, and a short trace.
std::string Explain(uint64_t seed);

}  // namespace snakepit::simulation

#endif  // SNAKEPIT_CORE_SIMULATION_SIMULATOR_H_
