#include "src/core/call_queue.h"

namespace snakepit {

CallQueue::Ids& CallQueue::QueueOf(WorkerIndex worker) {
  if (worker == kNoWorker) return common_;
  while (of_worker_.end_index() <= worker) of_worker_.Add({});
  return of_worker_[worker];
}

const CallQueue::Ids& CallQueue::OfWorker(WorkerIndex worker) const {
  static const Ids kNone;
  return worker < of_worker_.end_index() ? of_worker_[worker] : kNone;
}

void CallQueue::Add(CallId call, size_t bytes, WorkerIndex worker) {
  QueueOf(worker).insert(call);
  if (worker != kNoWorker) ++board_[worker].waiting;
  bytes_ += bytes;
  ++size_;
}

void CallQueue::Remove(CallId call, size_t bytes, WorkerIndex worker) {
  QueueOf(worker).erase(call);
  if (worker != kNoWorker) --board_[worker].waiting;
  bytes_ -= bytes;
  --size_;
}

void CallQueue::Move(CallId call, WorkerIndex from, WorkerIndex to) {
  QueueOf(to).insert(QueueOf(from).extract(call));
  if (from != kNoWorker) --board_[from].waiting;
  if (to != kNoWorker) ++board_[to].waiting;
}

CallId CallQueue::NextWithRoom() const {
  CallId next = 0;
  bool any_has_room = false;
  WorkerIndex index{0};
  for (const WorkerView& worker : board_) {
    const bool has_room = worker.HasRoom();
    any_has_room = any_has_room || has_room;
    const bool finishes = worker.state == WorkerState::kDraining && worker.HasSpareCapacity();
    if (worker.waiting > 0 && (has_room || finishes)) {
      const CallId first = *of_worker_[index].begin();
      if (next == 0 || first < next) next = first;
    }
    ++index;
  }
  if (any_has_room && !common_.empty() && (next == 0 || *common_.begin() < next)) {
    next = *common_.begin();
  }
  return next;
}

CallId CallQueue::Oldest() const {
  CallId oldest = common_.empty() ? 0 : *common_.begin();
  for (const Ids& queue : of_worker_) {
    if (queue.empty()) continue;
    if (oldest == 0 || *queue.begin() < oldest) oldest = *queue.begin();
  }
  return oldest;
}

}  // namespace snakepit
