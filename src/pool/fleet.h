// Fleet: the processes of a pool's workers, from their start to their end, and the guardian that is
// their parent.
//
// The core decides, by effects; the io thread carries them out in their order. Only a
// kill does not wait for that thread, which a callback of the user may hold up: it goes by the
// engine's outbox.
#ifndef SNAKEPIT_POOL_FLEET_H_
#define SNAKEPIT_POOL_FLEET_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "snakepit/options.h"
#include "src/pool/engine.h"
#include "src/pool/launch_factory.h"
#include "src/pool/runtime_directory.h"
#include "src/pool/user_callbacks.h"
#include "src/pool/worker_process.h"
#include "src/process/guardian.h"

namespace snakepit {

class Fleet {
 public:
  using ProcessPtr = std::shared_ptr<WorkerProcess>;

  // All but the launches outlive it.
  Fleet(Engine& engine, const PoolOptions& options, const UserCallbacks& callbacks,
        LaunchFactory launches);

  // Starts a guardian unless there is one. Before the engine's thread begins, or on it.
  Result<void> EnsureGuardian();

  // Effects of the core. With the lock.
  void Spawn(const SpawnWorker& effect);
  void AskToEnd(const AskWorkerToEnd& effect);
  void Kill(const KillWorker& effect);
  void Disown(const DisownProcess& effect);
  void TimeOutStart(const ReportStartTimeout& effect);

  // The process that has not ended, or null. With the lock.
  ProcessPtr Find(ProcessNumber number) const;

  // Kills every process, whatever the core thinks of it. From any thread.
  void KillAll();
  // All processes have ended: ends the guardian, and with it whatever the workers left behind.
  void EndGuardian();
  // After the end of the engine's thread.
  void RemoveRuntimeDirectory() { runtime_directory_.Remove(); }

 private:
  Result<void> EnsureRuntimeDirectory(bool has_guardian);
  void Start(const ProcessPtr& process);
  Result<void> Launch(WorkerProcess& process);
  void OnSpawned(ProcessNumber number, pid_t pid);
  void OnSpawnFailed(ProcessNumber number, Error error);
  void OnConnected(WorkerProcess& process, Result<std::shared_ptr<Connection>> connection);
  void OnReady(WorkerProcess& process, std::shared_ptr<Connection> connection);
  void OnExited(ProcessNumber number, ExitStatus status, const ResourceUse& use);
  void OnGuardianLost();
  void OnEndWished(WorkerProcess& process);
  void OnDisowned(WorkerProcess& process);
  void TellEnd(WorkerProcess& process, ExitStatus status, const ResourceUse& use, bool was_asked,
               bool failed);
  void ReportStartFailure(WorkerProcess& process, Error error);
  void End(ProcessNumber number, ExitStatus status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void Signal(WorkerProcess& process, int signal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  ProcessPtr FindUnlocked(ProcessNumber number) const;
  std::shared_ptr<Guardian> GuardianUnlocked() const;

  Engine& engine_;
  const PoolOptions& options_;
  const UserCallbacks& callbacks_;
  const LaunchFactory launches_;
  RuntimeDirectory runtime_directory_;  // only used where EnsureGuardian may be called

  // The processes that have not ended.
  std::unordered_map<ProcessNumber, ProcessPtr> processes_ ABSL_GUARDED_BY(engine_.mutex);
  std::shared_ptr<Guardian> guardian_ ABSL_GUARDED_BY(engine_.mutex);
  // Starts that wait until a lost guardian's end is known.
  std::vector<ProcessPtr> held_starts_ ABSL_GUARDED_BY(engine_.mutex);
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_FLEET_H_
