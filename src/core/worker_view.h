// The one thing that the scheduler and the supervisor share: a short view of each worker.
//
// Each field of a WorkerView has one writer. The supervisor resets the scheduler's fields when it
// adds a worker or spawns a process.
#ifndef SNAKEPIT_CORE_WORKER_VIEW_H_
#define SNAKEPIT_CORE_WORKER_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "snakepit/stats.h"
#include "src/core/effects.h"
#include "src/core/timers.h"

namespace snakepit {

struct WorkerView {
  // Written by the supervisor.
  int id = 0;  // WorkerInfo::id
  WorkerState state = WorkerState::kBackingOff;
  ProcessNumber process = 0;   // the present or latest one; 0: none was started yet
  int capacity = 1;            // calls at a time, as the latest ready process said
  bool check_is_call = false;  // a health check is under way that takes the place of a call

  // Written by the scheduler.
  int in_flight = 0;           // calls of this process
  int waiting = 0;             // queued calls that only this worker may serve
  int64_t calls_started = 0;   // since this process started
  uint64_t last_dispatch = 0;  // number of the latest dispatch; 0: none yet
  SteadyTime idle_since{};     // end of the latest call, if in_flight is 0 and calls_started is not

  bool Serves() const { return state == WorkerState::kReady || state == WorkerState::kUnready; }
  // True if the process could do one more call, if it got one.
  bool HasSpareCapacity() const;
  bool HasRoom() const;
  bool IsIdle() const { return in_flight == 0 && waiting == 0; }
};

// A deque by WorkerIndex: references to elements stay valid while it grows.
template <typename T>
class PerWorker {
 public:
  T& operator[](WorkerIndex index) { return items_[static_cast<size_t>(index)]; }
  const T& operator[](WorkerIndex index) const { return items_[static_cast<size_t>(index)]; }
  WorkerIndex Add(T item) {
    items_.push_back(std::move(item));
    return static_cast<WorkerIndex>(items_.size() - 1);
  }
  // One past the last index.
  WorkerIndex end_index() const { return static_cast<WorkerIndex>(items_.size()); }
  size_t size() const { return items_.size(); }
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

 private:
  std::deque<T> items_;
};

using WorkerBoard = PerWorker<WorkerView>;

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_WORKER_VIEW_H_
