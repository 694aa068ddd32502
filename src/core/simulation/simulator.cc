#include "src/core/simulation/simulator.h"

#include <algorithm>
#include <utility>

#include "src/core/fault.h"
#include "src/core/simulation/world.h"

namespace snakepit {

// Replaces the Fault of fault.cc, which ends the program.
[[noreturn]] void Fault(const std::string& what) {
  throw simulation::Violation{"fault of the core: " + what};
}

namespace simulation {

Outcome RunSteps(uint64_t seed, const std::vector<Step>& steps, std::string* story) {
  Outcome outcome;
  std::optional<World> world;
  try {
    world.emplace(MakeOptions(seed), seed, story);
    for (const Step& step : steps) world->Take(step);
    world->ComeToRest();
  } catch (Violation& violation) {
    outcome.violation = std::move(violation.what);
  }
  if (world) outcome.events = world->events();
  return outcome;
}

Outcome RunSeed(uint64_t seed) { return RunSteps(seed, MakeSteps(seed, kSteps)); }

std::vector<Step> Shrink(uint64_t seed, std::vector<Step> steps) {
  // Leaves out smaller and smaller pieces, from the end on, until none can go.
  for (size_t piece = std::max<size_t>(steps.size() / 2, 1);;
       piece = std::max<size_t>(piece / 2, 1)) {
    bool left_out = false;
    for (size_t end = steps.size(); end > 0;) {
      const size_t begin = end - std::min(piece, end);
      std::vector<Step> fewer(steps.begin(), steps.begin() + begin);
      fewer.insert(fewer.end(), steps.begin() + end, steps.end());
      if (RunSteps(seed, fewer).violation) {
        steps = std::move(fewer);
        left_out = true;
      }
      end = begin;
    }
    if (piece == 1 && !left_out) return steps;
  }
}

std::string Explain(uint64_t seed) {
  const std::vector<Step> steps = Shrink(seed, MakeSteps(seed, kSteps));
  std::string story;
  const Outcome outcome = RunSteps(seed, steps, &story);
  const PoolOptions options = MakeOptions(seed);
  const auto ms = [](std::chrono::milliseconds time) { return std::to_string(time.count()); };
  return "seed " + std::to_string(seed) + ": " + outcome.violation.value_or("nothing is wrong") +
         "\n  the pool: " + std::to_string(options.workers) + " workers, affinity " +
         std::string(AffinityName(options.sessions.affinity)) + ", a queue of " +
         std::to_string(options.queue.max_calls) + ", backoff " +
         ms(options.restart.initial_backoff) + " to " + ms(options.restart.max_backoff) +
         " ms, burst " + std::to_string(options.restart.burst) + ", stop grace " +
         ms(options.stop_grace) + " ms, health every " + ms(options.health.interval) + " ms\n  " +
         std::to_string(steps.size()) + " steps are enough:\n" + story;
}

}  // namespace simulation
}  // namespace snakepit
