// The queued calls of a pool, in the order of their submission. Pure.
//
// Invariants:
// - A call is in the common queue, which any worker may serve, or in the queue of one worker.
// - `waiting` of each worker's view is the length of that worker's queue.
#ifndef SNAKEPIT_CORE_CALL_QUEUE_H_
#define SNAKEPIT_CORE_CALL_QUEUE_H_

#include <cstddef>
#include <set>

#include "src/core/worker_view.h"

namespace snakepit {

class CallQueue {
 public:
  // Call ids, which grow with each submission.
  using Ids = std::set<CallId>;

  explicit CallQueue(WorkerBoard* board) : board_(*board) {}

  // Adds a call of so many bytes to the queue of `worker`; kNoWorker: to the common queue.
  void Add(CallId call, size_t bytes, WorkerIndex worker);
  // Moves a call from one queue to another.
  void Move(CallId call, WorkerIndex from, WorkerIndex to);
  void Remove(CallId call, size_t bytes, WorkerIndex worker);

  // The oldest call that a worker has room for; 0: none.
  CallId NextWithRoom() const;
  // The oldest call of all; 0: none.
  CallId Oldest() const;

  const Ids& common() const { return common_; }
  const Ids& OfWorker(WorkerIndex worker) const;
  // Calls and bytes of all queues together.
  size_t size() const { return size_; }
  size_t bytes() const { return bytes_; }

 private:
  Ids& QueueOf(WorkerIndex worker);

  WorkerBoard& board_;
  Ids common_;
  PerWorker<Ids> of_worker_;  // may be shorter than the board
  size_t size_ = 0;
  size_t bytes_ = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_CALL_QUEUE_H_
