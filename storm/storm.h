// A storm on one transport: a pool of storm_workers under callers and faults, in rounds. After each
// round the faults pause, the pool has to come back to full strength, and the history of the round
// is checked.
#ifndef SNAKEPIT_STORM_STORM_H_
#define SNAKEPIT_STORM_STORM_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "src/adapters/transport_kind.h"

namespace snakepit::storm {

struct StormOptions {
  TransportKind transport = TransportKind::kStdio;
  std::chrono::seconds duration{30};
  uint64_t seed = 1;
  int workers = 4;
  int callers = 16;
  // A bug of its workers, for tests of the storm. "double": they note some executions twice.
  std::string plant;
  std::string repeat;     // the command line that runs the same storm
  int interrupt_fd = -1;  // a signalfd: a signal stops the storm early
};

enum class Verdict { kGreen, kRed, kInterrupted };

// Reports progress on stderr and the result on stdout.
Verdict RunStorm(const StormOptions& options);

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_STORM_H_
