// The state of a pool and of its workers, as figures.
#ifndef SNAKEPIT_STATS_H_
#define SNAKEPIT_STATS_H_

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace snakepit {

// The states of a worker. src/core/LIFECYCLE.md has the table of their transitions.
enum class WorkerState {
  kBackingOff,  // no process; waits to be started (again)
  kStarting,    // the process is being started, or runs and is not ready
  kReady,       // takes calls
  kUnready,     // says that it is not well: gets no calls, and finishes those that it has
  kDraining,    // finishes the calls that it has, takes no more
  kStopping,    // was asked to end, or has lost its connection; is killed when the grace is over
  kKilled,      // was sent SIGKILL; its exit is awaited
  kGone,        // ended, and is not replaced
};

// "ready" for kReady, and so on.
std::string_view WorkerStateName(WorkerState state);

// The breaker decides if workers that end are replaced.
enum class BreakerState {
  kClosed,    // they are
  kOpen,      // they are not: too many ended in a row. Calls are refused while no worker is ready
  kHalfOpen,  // one is started as a probe
};

// "closed", "open" or "half-open".
std::string_view BreakerStateName(BreakerState state);

struct WorkerInfo {
  // Stays the same across restarts: 0 to workers - 1. While a worker is being replaced, or is
  // surplus and finishes its calls, a second one has the same id.
  int id = 0;
  WorkerState state = WorkerState::kStarting;
  pid_t pid = 0;             // 0 while there is no process
  int capacity = 1;          // calls that it takes at a time, as it said when it became ready
  int protocol_version = 1;  // 1 (legacy) or 2, as agreed when it became ready
  // True if its streams come in chunks as they are made: a worker of version 2 with the feature
  // `stream`, or one of version 1 over gRPC. PROTOCOL.md 6.1.2 and 2.7.6.
  bool streams = false;
  bool sessions = false;      // true if it has the feature `session` of version 2
  int calls_in_flight = 0;    // includes calls that were given up and that it has not ended yet
  int64_t calls_started = 0;  // this process's
  int64_t restarts = 0;       // the id's
  std::chrono::microseconds start_time{0};  // from the start of this process until it was ready
  int64_t rss_bytes = 0;                    // resident memory; 0 while there is no process
};

// A worker's own account of its health. PROTOCOL.md 6.10.
struct WorkerHealth {
  bool healthy = false;
  std::string worker_id;  // its own name for itself; cut and escaped like `version`, at 256 bytes
  std::chrono::milliseconds uptime{0};
  int64_t total_requests = 0;  // calls that have ended, failed ones too
  int64_t total_errors = 0;
  int calls_in_flight = 0;
  std::string version;  // the worker's own software
};

struct PoolStats {
  int workers = 0;  // wanted
  int workers_ready = 0;
  // The pool's own health: the calls that its ready workers take at a time, and the calls that all
  // wanted workers would take. A worker that was never ready counts as one call.
  int usable_capacity = 0;
  int wanted_capacity = 0;
  BreakerState breaker = BreakerState::kClosed;
  size_t calls_queued = 0;
  size_t bytes_queued = 0;                     // counted as QueueOptions::max_bytes
  std::chrono::milliseconds oldest_queued{0};  // longest wait so far of a call in the queue
  int calls_in_flight = 0;  // includes calls that were given up and that their worker still has
  size_t sessions = 0;
  int64_t calls_accepted = 0;
  int64_t calls_succeeded = 0;
  int64_t calls_failed = 0;  // accepted ones only
  // Calls that were never accepted: the queue was full, the pool closing, the breaker open, the
  // session lost or busy, or CallOptions::stop requested before. Invalid input is not counted.
  int64_t calls_refused = 0;
  int64_t restarts = 0;       // processes that were started in the place of one that had ended
  int64_t boot_failures = 0;  // processes that ended, or were given up, before they were ready
  int64_t crashes = 0;        // processes that ended, or were given up, after they were ready
  int64_t recycled = 0;       // processes replaced by RecycleOptions, Restart or bad health
  int64_t breaker_opened = 0;
  std::string last_start_error;  // the latest worker's that failed to start; empty: none did
};

}  // namespace snakepit

#endif  // SNAKEPIT_STATS_H_
