// Pool::Impl: the parts of a pool, put together, and its life from start to shutdown.
#ifndef SNAKEPIT_POOL_POOL_IMPL_H_
#define SNAKEPIT_POOL_POOL_IMPL_H_

#include <chrono>
#include <mutex>
#include <string_view>
#include <vector>

#include "snakepit/pool.h"
#include "src/pool/call_table.h"
#include "src/pool/checkups.h"
#include "src/pool/engine.h"
#include "src/pool/fleet.h"
#include "src/pool/launch_factory.h"
#include "src/pool/user_callbacks.h"

namespace snakepit {

class Pool::Impl {
 public:
  // `options` are valid and whole (pool/options.h).
  Impl(PoolOptions options, LaunchFactory launches);
  ~Impl() { Shutdown(); }

  // False in a process that was forked from the pool's: there no other method may be called but
  // ForkedError, nor the destructor. The locks may be held for ever, and the descriptors are the
  // parent's.
  bool IsHere() const { return callbacks_.IsHere(); }
  Error ForkedError() const { return callbacks_.ForkedError(); }

  // Calls go to the table straight away.
  CallTable& calls() { return calls_; }

  // Same as the methods of Pool.
  Result<void> Start();
  void EndSession(std::string_view session_id);
  Result<WorkerHealth> CheckHealth(int worker_id, std::chrono::milliseconds timeout);
  PoolStats Stats() const;
  std::vector<WorkerInfo> Workers() const;
  Result<void> Restart(std::chrono::milliseconds timeout);
  Result<void> Resize(int workers);
  bool Drain(std::chrono::milliseconds timeout);
  void Shutdown();

 private:
  // A thread in Restart.
  struct RestartWaiter {
    RestartState state = RestartState::kRunning;
    int64_t start_failures = 0;  // before it
  };

  void Apply(const Effect& effect) ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void Announce(const ReplaceWorker& effect) ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void OnSettled() ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void LogBreaker() ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void TellRestartWaiters() ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void OnFault();
  void LogNotInherited();

  const PoolOptions options_;
  const UserCallbacks callbacks_;
  mutable Engine engine_;
  Fleet fleet_;
  CallTable calls_;
  Checkups checkups_;
  std::once_flag shut_down_;
  // The waiters of the restart that is under way.
  std::vector<RestartWaiter*> restart_waiters_ ABSL_GUARDED_BY(engine_.mutex);
  BreakerState logged_breaker_ ABSL_GUARDED_BY(engine_.mutex) = BreakerState::kClosed;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_POOL_IMPL_H_
