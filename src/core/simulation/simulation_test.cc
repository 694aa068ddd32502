// Many seeds of the simulator.
#include <gtest/gtest.h>

#include <chrono>
#include <iostream>

#include "src/core/core.h"
#include "src/core/simulation/simulator.h"
#include "src/core/simulation/world.h"

namespace snakepit::simulation {
namespace {

using std::chrono::steady_clock;

TEST(Simulation, ManySeedsHold) {
  constexpr uint64_t kSeeds = 5'000;
  int64_t events = 0;
  const auto start = steady_clock::now();
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Outcome outcome = RunSeed(seed);
    ASSERT_FALSE(outcome.violation) << Explain(seed);
    events += outcome.events;
  }
  const double seconds = std::chrono::duration<double>(steady_clock::now() - start).count();
  std::cout << events << " events, " << events / seconds / 1e6 << " million a second\n";
  EXPECT_GT(events, 1'000'000);
}

TEST(Simulation, ASeedAlwaysDoesTheSame) {
  std::string first, second;
  RunSteps(7, MakeSteps(7, kSteps), &first);
  RunSteps(7, MakeSteps(7, kSteps), &second);
  EXPECT_GT(first.size(), 10'000u);
  EXPECT_EQ(first, second);
}

// The seeds have to reach everything that a core can do.
TEST(Simulation, EveryEffectAndEveryStateIsMet) {
  std::string story;
  for (uint64_t seed = 1; seed <= 200; ++seed) RunSteps(seed, MakeSteps(seed, kSteps), &story);
  for (const char* part :
       {"queue timeout", "is ended: deadline", "is ended: cancelled", "is ended: shutdown",
        "is ended: breaker open", "is ended: session lost", "is ended: worker lost",
        "is asked to end", "is killed", "is asked for its health", "the breaker is open",
        "the breaker is half-open", "the breaker is closed", "it went on for too long",
        "the user restarts", "is not well", "is silent", "is disowned", "has to be replaced"}) {
    EXPECT_NE(story.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace snakepit::simulation
