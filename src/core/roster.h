// The workers of a pool and the seats that they fill: the supervisor's data. Not a machine: the
// parts of the supervisor change it.
//
// Invariants:
// - Each wanted worker id has a seat, and each seat has a worker of its id.
// - A worker without a seat is surplus: it ends, and is not started again.
// - The entry of a gone worker is used again for the next one. Entries never move.
#ifndef SNAKEPIT_CORE_ROSTER_H_
#define SNAKEPIT_CORE_ROSTER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "snakepit/options.h"
#include "src/core/effects.h"
#include "src/core/timers.h"
#include "src/core/worker_view.h"

namespace snakepit {

class Roster {
 public:
  // The supervisor's part of a worker; the WorkerView of its index has the rest. A worker has any
  // number of processes, one at a time.
  struct Worker {
    // The present process, or the latest.
    struct Process {
      bool was_ready = false;
      bool has_served = false;        // it has answered a call
      bool was_asked_to_end = false;  // so its end is no failure
      KillReason kill_reason = {};    // why it is killed, or will be when its grace is over
      SteadyTime ready_since{};
    };
    struct Health {
      bool checks_while_busy = false;  // it answers health checks while it has calls
      bool is_checked = false;         // a check is under way
      int unhealthy_in_a_row = 0;
    };
    struct Recycling {
      RecycleOptions limits;             // drawn for this process
      std::optional<ReplaceReason> due;  // it is to be replaced
      bool is_measured = false;          // a measurement of its memory is under way
      int64_t rss_bytes = 0;             // the latest measurement; 0: none yet
      int64_t rss_baseline_bytes = 0;    // 0: not warm yet
      std::optional<SteadyTime> timer;
    };
    Process process;
    Health health;
    Recycling recycling;
    bool is_surplus = false;          // not started again: it was replaced, or is one too many
    std::optional<SteadyTime> timer;  // belongs to its state
  };

  // The workers of one id: the wanted one and, while that is replaced, its successor.
  struct Seat {
    WorkerIndex worker = kNoWorker;
    WorkerIndex successor = kNoWorker;  // not ready yet; kNoWorker: none
    int failures = 0;  // processes in a row that ended without having answered a call
    int64_t restarts = 0;
    int replace_failures = 0;  // successors in a row that did not start
    SteadyTime replace_not_before{};
  };

  // Totals of the pool, as PoolStats has them.
  struct Counts {
    int64_t restarts = 0;
    int64_t boot_failures = 0;
    int64_t crashes = 0;
    int64_t recycled = 0;
  };

  explicit Roster(WorkerBoard* board) : board_(*board) {}

  // Adds a worker, which is backing off.
  WorkerIndex Add(int id);

  Worker& operator[](WorkerIndex index) { return workers_[index]; }
  const Worker& operator[](WorkerIndex index) const { return workers_[index]; }
  WorkerView& view(WorkerIndex index) { return board_[index]; }
  const WorkerBoard& board() const { return board_; }

  // Seats by worker id; as many as are wanted.
  std::vector<Seat>& seats() { return seats_; }
  const std::vector<Seat>& seats() const { return seats_; }
  // The seat of the worker's id; null: there are fewer seats now.
  Seat* SeatOf(WorkerIndex index);
  // True if the worker is the one of its seat, not its successor or surplus.
  bool IsSeated(WorkerIndex index);

  // The worker whose living process this is, or kNoWorker.
  WorkerIndex Find(ProcessNumber process) const;
  // True if the worker of each seat is ready.
  bool AllReady() const;
  // True if the worker of each seat serves.
  bool AllServe() const;
  bool AnyServes() const;
  bool AllGone() const;

  Counts& counts() { return counts_; }
  const Counts& counts() const { return counts_; }

 private:
  WorkerBoard& board_;
  PerWorker<Worker> workers_;
  std::vector<Seat> seats_;
  Counts counts_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_ROSTER_H_
