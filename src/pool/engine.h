// Engine: the pool's mutex and core, its io thread, and the outbox of its effects.
//
// The mutex guards the core and all state that follows from it. It is held for short steps only and
// never during I/O. Effects change state at once, under the lock, so that a caller's own thread
// sees its worker without a hop. Their I/O leaves the lock: the io thread does it, or,
// where it must not wait for that thread, the outbox.
#ifndef SNAKEPIT_POOL_ENGINE_H_
#define SNAKEPIT_POOL_ENGINE_H_

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "snakepit/options.h"
#include "src/base/mutex.h"
#include "src/core/core.h"
#include "src/pool/explain.h"

namespace snakepit {

// The starts of a pool's workers, as far as they failed.
struct StartRecord {
  bool pool_started = false;  // Pool::Start has returned the pool
  std::optional<Error> first_error;
  std::optional<Error> last_error;
  int64_t failures = 0;
};

class Engine {
 public:
  using Time = Core::Time;
  using Deed = std::function<void()>;

  // The parts of the pool that the engine drives. All are called with the lock.
  struct Handlers {
    std::function<void(const Effect&)> apply;
    std::function<void()> settled;  // after all effects of a step
  };

  // `options` are valid and whole, and outlive the engine.
  Engine(const PoolOptions& options, uint64_t seed);

  // Starts the thread. An exception that leaves a handler of the io_context runs `on_fault` there.
  void Begin(Handlers handlers, std::function<void()> on_fault);
  // Ends the thread when it has run what was posted before. Nothing that is posted later runs.
  void End();
  bool has_thread() const { return thread_.joinable(); }

  // Runs it on the io thread, after all that was posted before.
  template <typename Task>
  void Post(Task task) {
    asio::post(io_, std::move(task));
  }
  asio::io_context& io() { return io_; }

  Core& core() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return core_; }
  const Core& core() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return core_; }
  // A view of the core and the options for explain.h. Valid while the lock is held.
  PoolState State() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  StartRecord& starts() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return starts_; }
  const StartRecord& starts() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return starts_; }
  bool thread_ends() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return thread_ends_; }

  // Carries out the effects of the core's last step. To be called after each of its methods that
  // takes a time.
  void Settle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // Moves the core's clock on.
  void Tick(Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  // Puts a deed into the outbox. One thread at a time runs the deeds, in their order and without
  // the lock: the thread that lets go of the lock, unless another is at it already. An exception of
  // a deed is dropped.
  void AfterUnlock(Deed deed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // True if no deed waits or runs.
  bool is_drained() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return outbox_.empty() && !is_draining_;
  }

  mutable Mutex mutex;
  // Notified when a worker or a call has come to an end, a start failed, or the outbox is drained.
  CondVar changed;

 private:
  friend class EngineLock;

  void Run(const std::function<void()>& on_fault);
  void ApplyEffects() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void UpdateWake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void ArmTimer();
  void Drain(MutexLock& lock);

  const PoolOptions& options_;
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::steady_timer timer_;  // only used on the io thread
  Handlers handlers_;         // set before the thread starts
  std::thread thread_;

  Core core_ ABSL_GUARDED_BY(mutex);
  StartRecord starts_ ABSL_GUARDED_BY(mutex);
  std::vector<Effect> effects_ ABSL_GUARDED_BY(mutex);
  bool has_effects_left_ ABSL_GUARDED_BY(mutex) = false;  // after one of effects_ threw
  std::optional<Time> armed_ ABSL_GUARDED_BY(mutex);
  std::vector<Deed> outbox_ ABSL_GUARDED_BY(mutex);
  bool is_draining_ ABSL_GUARDED_BY(mutex) = false;
  bool thread_ends_ ABSL_GUARDED_BY(mutex) = false;
};

// Holds the engine's mutex, and drains its outbox whenever it lets go.
class ABSL_SCOPED_LOCKABLE EngineLock {
 public:
  explicit EngineLock(Engine& engine) ABSL_EXCLUSIVE_LOCK_FUNCTION(engine.mutex)
      : engine_(engine), lock_(engine.mutex) {}
  ~EngineLock() ABSL_UNLOCK_FUNCTION();
  EngineLock(const EngineLock&) = delete;
  EngineLock& operator=(const EngineLock&) = delete;

  // The predicates run with the lock.
  template <typename Predicate>
  void Wait(CondVar& changed, Predicate is_over) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    engine_.Drain(lock_);
    changed.wait(lock_, std::move(is_over));
  }
  template <typename Predicate>
  bool WaitUntil(CondVar& changed, Engine::Time limit,
                 Predicate is_over) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    engine_.Drain(lock_);
    return changed.wait_until(lock_, limit, std::move(is_over));
  }

 private:
  Engine& engine_;
  MutexLock lock_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_ENGINE_H_
