// Runs the simulator for a given time: ./bazelw run //src/core/simulation:simulate -- --help
#include <signal.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "src/core/simulation/simulator.h"

namespace {

using std::chrono::duration;
using std::chrono::steady_clock;

volatile sig_atomic_t interrupted = 0;

double SecondsSince(steady_clock::time_point start) {
  return duration<double>(steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Runs the core of the pool in a simulated world, one seed after the other. At the first seed "
      "that fails it prints the seed and a short trace, and exits with 1. Without --seconds and "
      "--seeds it runs until Ctrl-C (exit status 130).");
  uint64_t first = 1;
  uint64_t seeds = std::numeric_limits<uint64_t>::max();
  double seconds = std::numeric_limits<double>::infinity();
  app.add_option("--seed", first, "The first seed")->capture_default_str();
  app.add_option("--seeds", seeds, "Number of seeds to run")->check(CLI::PositiveNumber);
  app.add_option("--seconds", seconds, "Time to run")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);

  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);

  const auto start = steady_clock::now();
  double told = 0;
  int64_t events = 0;
  uint64_t done = 0;
  const auto tell = [&](const char* end) {
    const double so_far = SecondsSince(start);
    std::fprintf(stderr, "%llu seeds, %.1f million events, %.2f million a second%s",
                 static_cast<unsigned long long>(done), events / 1e6, events / 1e6 / so_far, end);
  };
  while (done < seeds && !interrupted && SecondsSince(start) < seconds) {
    const uint64_t seed = first + done;
    const snakepit::simulation::Outcome outcome = snakepit::simulation::RunSeed(seed);
    if (outcome.violation) {
      std::printf("%s", snakepit::simulation::Explain(seed).c_str());
      std::printf("Again: --seed %llu --seeds 1. It was seed %llu of this run.\n",
                  static_cast<unsigned long long>(seed), static_cast<unsigned long long>(done + 1));
      return 1;
    }
    events += outcome.events;
    ++done;
    if (SecondsSince(start) - told >= 5) {
      told = SecondsSince(start);
      tell("\n");
    }
  }
  tell(": nothing wrong\n");
  return interrupted ? 130 : 0;
}
