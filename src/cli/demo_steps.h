// The steps of `snakepit demo`, each on a pool that runs.
#ifndef SNAKEPIT_CLI_DEMO_STEPS_H_
#define SNAKEPIT_CLI_DEMO_STEPS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "snakepit/pool.h"
#include "src/cli/console.h"
#include "src/cli/interrupts.h"

namespace snakepit {

// The figures of one transport.
struct DemoFigures {
  std::chrono::nanoseconds start{0};
  std::chrono::nanoseconds round_trip_p50{0};
  std::chrono::nanoseconds round_trip_p99{0};
  std::chrono::nanoseconds first_chunk{0};  // p50
  std::chrono::nanoseconds replacement{0};
  int64_t worker_rss_bytes = 0;  // mean
  int64_t pool_rss_bytes = 0;    // this process
};

// Not synchronised. Each step shows its work and its observations, and returns true if the pool
// kept its promise.
class DemoSteps {
 public:
  DemoSteps(Pool& pool, Console& console, Interrupts& interrupts, DemoFigures& figures)
      : pool_(pool), console_(console), interrupts_(interrupts), figures_(figures) {}

  bool Ping();
  bool Stream();
  bool Session();
  bool Kill();
  bool Stop();

 private:
  bool DidNotHold(std::string_view text);
  bool MeasureRoundTrips();
  bool MeasureFirstChunk();
  bool MeasureMemory();

  Pool& pool_;
  Console& console_;
  Interrupts& interrupts_;
  DemoFigures& figures_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_DEMO_STEPS_H_
