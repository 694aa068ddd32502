// The parts of a supervisor, wired as the Supervisor wires them, for the tests of each part.
#ifndef SNAKEPIT_CORE_TESTING_PARTS_H_
#define SNAKEPIT_CORE_TESTING_PARTS_H_

#include <gtest/gtest.h>

#include <chrono>
#include <utility>
#include <variant>
#include <vector>

#include "src/core/health_checks.h"
#include "src/core/lifecycle_driver.h"
#include "src/core/random.h"
#include "src/core/recycler.h"
#include "src/core/replacer.h"
#include "src/core/roster.h"
#include "src/core/starter.h"

namespace snakepit {

using std::chrono::milliseconds;

class PartsTest : public testing::Test {
 protected:
  PartsTest() { options_.max_starting = 1000; }

  // Adds a seat whose worker backs off.
  WorkerIndex AddSeat() {
    const WorkerIndex index = roster_.Add(static_cast<int>(roster_.seats().size()));
    roster_.seats().push_back({.worker = index});
    return index;
  }
  // Adds a seat whose worker is ready.
  WorkerIndex AddReady() {
    const WorkerIndex index = AddSeat();
    driver_.Handle(index, WorkerEvent::kStart, now_);
    driver_.Handle(index, WorkerEvent::kReady, now_);
    effects_.clear();
    return index;
  }
  WorkerState StateOf(WorkerIndex index) const { return board_[index].state; }

  // The number of effects of a kind since the last call for this kind; forgets all effects.
  template <typename T>
  int Count() {
    int count = 0;
    for (const Effect& effect : std::exchange(effects_, {})) {
      count += std::holds_alternative<T>(effect);
    }
    return count;
  }

  PoolOptions options_;
  SteadyTime now_{};
  WorkerBoard board_;
  Timers timers_;
  Effects effects_;
  SplitMix random_{1};
  Roster roster_{&board_};
  LifecycleDriver driver_{options_, &roster_, &random_, &timers_, &effects_};
  Starter starter_{options_, &roster_, &driver_, &timers_};
  Replacer replacer_{&roster_, &driver_, &starter_, &timers_, &effects_};
  Recycler recycler_{options_.recycle, &roster_, &replacer_, &random_, &timers_};
  HealthChecks health_checks_{options_,   &roster_, &driver_, &replacer_,
                              &recycler_, &timers_, &effects_};
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_TESTING_PARTS_H_
