// The place of a worker in the core's tables. Not its id: while a worker is replaced, two workers
// share an id.
#ifndef SNAKEPIT_CORE_WORKER_INDEX_H_
#define SNAKEPIT_CORE_WORKER_INDEX_H_

namespace snakepit {

enum class WorkerIndex : int {};
inline constexpr WorkerIndex kNoWorker{-1};

constexpr WorkerIndex& operator++(WorkerIndex& index) {
  return index = static_cast<WorkerIndex>(static_cast<int>(index) + 1);
}

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_WORKER_INDEX_H_
