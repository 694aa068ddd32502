// Guardian: the process that starts the workers and is their parent. It ends the workers, and
// everything that they started, as soon as the pool's process lets go of it, by a crash too.
//
// The guardian is a small program of its own, carried inside the library and run from memory. It
// has its own session: a terminal's Ctrl-C reaches neither it nor the workers. It ignores every
// signal that can be ignored and lives as long as its pool. `ps` shows it as "snakepit-guardian
// PID", where PID is the process of the pool. It needs Linux 5.4 or newer.
//
// Everything that a worker started ends with the worker, whatever its process group, session or
// environment. The guardian recognises a worker's processes by the soft limit RLIMIT_LOCKS, which
// it sets to a different number for each worker. A process that changes that limit, or belongs to
// another user, is not recognised and ends with the guardian instead. So does every process whose
// worker is unknown because the hard limit RLIMIT_LOCKS is not unlimited.
//
// A killed worker dies in any group and session. If a process that the worker started traces it,
// the guardian kills the tracer, and the worker dies then. The guardian leaves a foreign debugger
// alone and reports the worker's end once the debugger lets go.
#ifndef SNAKEPIT_PROCESS_GUARDIAN_H_
#define SNAKEPIT_PROCESS_GUARDIAN_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "src/process/cgroup.h"

namespace asio {
class io_context;
}

namespace snakepit {

// The program to start. The worker gets this and nothing else: no other descriptor, no blocked or
// ignored signal, no other variable but SNAKEPIT_GUARDIAN. That variable marks the worker's
// descendants as this guardian's where nothing else tells. The worker leads a process group of its
// own.
struct SpawnSpec {
  // Verbatim, without a shell. argv[0] without a slash is searched on the PATH of `environment`, as
  // execvp(3) does; with a slash, it is relative to working_directory.
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // NAME=value each
  // Empty: the working directory of this process at the time of the Spawn call, or / if this
  // process may not enter that. A relative path starts there.
  std::string working_directory;
  // Borrowed: the caller may close them as soon as Spawn has returned.
  int stdin_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;
  ProcessSettings process;
  // The guardian makes this cgroup for the worker, and removes it afterwards with all that is in
  // it.
  std::optional<CgroupPlan> cgroup;
  // Same as WorkerEnd in adapter.h, with the placeholders filled in.
  std::chrono::milliseconds leader_grace{0};
  std::vector<std::string> end_command;
};

// Resources used by a worker and by those of its children that it waited for: getrusage(2).
struct ResourceUse {
  std::chrono::microseconds user_time{0};
  std::chrono::microseconds system_time{0};
  int64_t max_rss_bytes = 0;  // the largest single process
};

class Guardian {
 public:
  // Called on the thread that runs the io_context, one at a time. Each id that Spawn accepted gets
  // either spawn_failed, or spawned and later exited, unless `lost` comes first. All must be set
  // except where noted.
  struct Events {
    // The worker's program has been executed.
    std::function<void(uint64_t id, pid_t pid)> spawned;
    // START_FAILED; the message names the program, the error and a remedy. No process of it is
    // left.
    std::function<void(uint64_t id, Error error)> spawn_failed;
    // The worker ended and is reaped. Without a leader_grace, the rest of its process group has
    // been sent SIGKILL, and the processes that left the group are being ended.
    std::function<void(uint64_t id, ExitStatus status, ResourceUse use)> exited;
    // The guardian itself ended unexpectedly, or answered nothing for 6 s and was ended. All
    // workers end with it. No further event comes, Spawn fails from now on, and no end command
    // runs. The workers' descendants are ended as well, with two exceptions. The first is a process
    // that changed its limit RLIMIT_LOCKS and either left the guardian's session or belongs to a
    // pool process that ignores SIGCHLD or waits for every child. The second is a process that this
    // one may not inspect or end. Where the hard limit is not unlimited, the variable
    // SNAKEPIT_GUARDIAN in the environment counts in place of the limit.
    std::function<void()> lost;
    // The end command of the worker that had the pid failed. May be empty.
    std::function<void(pid_t pid, std::string why)> end_command_failed;
  };

  // Starts the guardian process, in about a millisecond. `io` must outlive the Guardian; it need
  // not run yet, and events come while it runs. INTERNAL if the system refuses the start.
  // `runtime_directory_fd` is a folder or -1. The guardian removes the folder and its files when it
  // ends, so that the folder of a killed pool goes too. The guardian has a copy of the descriptor,
  // and so a share in its lock (flock(2)).
  static Result<std::unique_ptr<Guardian>> Start(asio::io_context& io, Events events,
                                                 int runtime_directory_fd = -1);

  // Ends every worker and all their descendants with SIGKILL. Returns once they and the guardian
  // are gone and reaped: within 10 s, unless a process cannot be killed. No event comes any more.
  // May be called from any thread, inside an event too, and whether or not the io_context runs. No
  // other method may run at the same time, and the caller must hold no lock that an event takes.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  // Asks for a worker and does not wait; the result comes as an event. `id` is the caller's choice
  // and unique for the life of the guardian. From any thread. INVALID_ARGUMENT if the spec is
  // impossible; START_FAILED if this process has changed its user or groups since the guardian
  // started; INTERNAL if the guardian is lost or a resource ran out. No event follows an error.
  Result<void> Spawn(uint64_t id, const SpawnSpec& spec);

  // Sends a signal to the worker's process group, or SIGKILL to the worker alone if it has a
  // leader_grace. Does nothing if the worker has ended or never was. Signals stay in order with
  // Spawn calls of the same thread: a worker that is still starting gets the signal too. From any
  // thread; does not wait.
  void Signal(uint64_t id, int signal);

  // Replaces the folder given to Start, if that was removed. From any thread; does not wait.
  void SetRuntimeDirectory(int fd);

  // True if Events::lost is to follow: the guardian's leftovers are being ended. From any thread.
  bool is_lost() const;

  // The guardian's own process, for diagnosis.
  pid_t pid() const;

 private:
  class Link;
  explicit Guardian(std::shared_ptr<Link> link);
  const std::shared_ptr<Link> link_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_GUARDIAN_H_
