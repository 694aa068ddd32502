// Checkups: how workers are. Health checks and memory measurements, for the core and for the user.
#ifndef SNAKEPIT_POOL_CHECKUPS_H_
#define SNAKEPIT_POOL_CHECKUPS_H_

#include <chrono>
#include <memory>

#include "snakepit/options.h"
#include "snakepit/stats.h"
#include "src/pool/engine.h"
#include "src/pool/fleet.h"
#include "src/pool/user_callbacks.h"
#include "src/pool/worker_process.h"

namespace snakepit {

class Checkups {
 public:
  // All outlive it.
  Checkups(Engine& engine, Fleet& fleet, const PoolOptions& options, const UserCallbacks& callbacks)
      : engine_(engine), fleet_(fleet), options_(options), callbacks_(callbacks) {}

  // Same as the method of Pool.
  Result<WorkerHealth> CheckHealth(int worker_id, std::chrono::milliseconds timeout);

  // Effects of the core. With the lock.
  void Check(const CheckWorker& effect);
  void Measure(const MeasureWorker& effect);

 private:
  // The process of the worker, or why it cannot be asked.
  Result<Fleet::ProcessPtr> FindReady(int worker_id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void BeginCheck(const Fleet::ProcessPtr& process);
  void OnChecked(WorkerProcess& process, const Result<WorkerHealth>& health);

  Engine& engine_;
  Fleet& fleet_;
  const PoolOptions& options_;
  const UserCallbacks& callbacks_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_CHECKUPS_H_
