// WorkerProcess: one process of a worker, from the decision to start it until nobody asks for it
// any more.
#ifndef SNAKEPIT_POOL_WORKER_PROCESS_H_
#define SNAKEPIT_POOL_WORKER_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "snakepit/error.h"
#include "src/core/core.h"
#include "src/pool/explain.h"
#include "src/process/output_reader.h"
#include "src/transport/connection.h"
#include "src/transport/launch.h"

namespace snakepit {

struct WorkerProcess {
  int worker_id = 0;
  ProcessNumber number = 0;
  // Launch::secret(), from before it is spawned: it is hidden in all texts of the worker.
  std::string secret;

  // Guarded by the engine's mutex. The pid and the connection are set once, before the core is told
  // that the process is ready: whoever has a call on it may read them without the lock.
  pid_t pid = 0;  // 0: not started yet
  std::shared_ptr<Connection> connection;
  SteadyTime started_at;
  std::chrono::microseconds start_time{0};
  int protocol_version = 1;
  bool streams = false;  // same as in WorkerInfo
  bool sessions = false;
  bool is_spawned = false;  // the guardian has been told to start it
  int owed_signal = 0;      // the signal that it is sent once it is spawned; 0: none
  std::string fault;        // found wrong with it by a call or a health check
  std::string kill_reason;  // empty: the pool did not kill it
  std::string stderr_tail;  // once it has ended

  // Only used on the io thread.
  std::unique_ptr<Launch> launch;
  std::shared_ptr<OutputReader> stderr_reader;
  std::optional<Error> closed_in_start;  // it closed its connection before it was ready
  bool start_failure_reported = false;

  // "worker 0 (pid 77)".
  std::string Name() const {
    return "worker " + std::to_string(worker_id) +
           (pid == 0 ? "" : " (pid " + std::to_string(pid) + ")");
  }
  ProcessAccount Account() const { return {Name(), kill_reason, stderr_tail}; }
};

// The state of its worker; kGone: no worker has that process any more.
inline WorkerState StateOf(const Core& core, const WorkerProcess& process) {
  const WorkerIndex worker = core.roster().Find(process.number);
  return worker == kNoWorker ? WorkerState::kGone : core.workers()[worker].state;
}

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_WORKER_PROCESS_H_
