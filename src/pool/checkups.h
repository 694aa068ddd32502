// Checkups: how workers are. Health checks and memory measurements, for the core and for the user.
#ifndef SNAKEPIT_POOL_CHECKUPS_H_
#define SNAKEPIT_POOL_CHECKUPS_H_

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "snakepit/options.h"
#include "snakepit/stats.h"
#include "src/pool/engine.h"
#include "src/pool/user_callbacks.h"
#include "src/pool/worker_process.h"

namespace snakepit {

class Checkups {
 public:
  using ProcessPtr = std::shared_ptr<WorkerProcess>;

  // `find` gives the process that has not ended, or null, with the lock. All outlive it.
  Checkups(Engine& engine, std::function<ProcessPtr(ProcessNumber)> find,
           const PoolOptions& options, const UserCallbacks& callbacks)
      : engine_(engine), find_(std::move(find)), options_(options), callbacks_(callbacks) {}

  // Same as the method of Pool.
  Result<WorkerHealth> CheckHealth(int worker_id, std::chrono::milliseconds timeout);

  // Effects of the core. With the lock.
  void Check(const CheckWorker& effect);
  void Measure(const MeasureWorker& effect);

 private:
  // The process of the worker, or why it cannot be asked.
  Result<ProcessPtr> FindReady(int worker_id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void BeginCheck(const ProcessPtr& process);
  void OnChecked(WorkerProcess& process, const Result<WorkerHealth>& health);

  Engine& engine_;
  const std::function<ProcessPtr(ProcessNumber)> find_;
  const PoolOptions& options_;
  const UserCallbacks& callbacks_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_CHECKUPS_H_
