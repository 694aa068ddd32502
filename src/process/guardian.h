// Guardian: the process that starts the workers, is their parent, and ends them, with everything
// that they started, the moment this process lets go of it: by a crash, too.
//
// It is a small program of its own, carried inside the library and run from memory. It has its own
// session, so that a terminal's Ctrl-C reaches neither it nor the workers, and it ignores every
// signal that can be ignored: it lives as long as its pool does. `ps` shows it as
// "snakepit-guardian PID", where PID is the process of the pool. Linux 5.4 or newer.
//
// What a worker started ends with it, in whatever process group or session it is, and whatever its
// environment: the guardian knows it by the soft limit RLIMIT_LOCKS, which it sets to a number of
// its own for each worker. Only a process that sets that limit anew, or belongs to another user, is
// not found then; it ends with the guardian. So does a process of which nobody can tell the worker
// where the hard limit RLIMIT_LOCKS is not unlimited.
//
// A worker that was told to die does, in whatever group and session it is. One that is traced by a
// process that it started is dead as soon as that process is killed, which the guardian does; the
// debugger of somebody else is left alone, and the worker's end is then told when it lets go.
#ifndef SNAKEPIT_SRC_PROCESS_GUARDIAN_H_
#define SNAKEPIT_SRC_PROCESS_GUARDIAN_H_

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

// What to start. The worker gets this and nothing else: no other descriptor, no blocked or ignored
// signal, no other variable but SNAKEPIT_GUARDIAN, by which what it starts is known for the
// guardian's where nothing else tells. It is the leader of a process group of its own.
struct SpawnSpec {
  // Verbatim, without a shell. argv[0] without a slash is searched on the PATH of `environment`, as
  // execvp(3) does; with one, it is taken from working_directory on.
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // NAME=value each
  // Empty: the working directory that this process has at the time of the Spawn call, or / when
  // this process may not enter that. A relative one starts there.
  std::string working_directory;
  // Borrowed: the caller may close them as soon as Spawn has returned.
  int stdin_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;
  ProcessSettings process;
  // Its cgroup is made for it, and removed after it with all that is in it.
  std::optional<CgroupPlan> cgroup;
  // As WorkerEnd in adapter.h, with the placeholders filled in.
  std::chrono::milliseconds leader_grace{0};
  std::vector<std::string> end_command;
};

// What a worker used, together with those of its children that it waited for. getrusage(2).
struct ResourceUse {
  std::chrono::microseconds user_time{0};
  std::chrono::microseconds system_time{0};
  int64_t max_rss_bytes = 0;  // of the largest one process
};

class Guardian {
 public:
  // Called on the thread that runs the io_context, one at a time. For each id that Spawn accepted:
  // either spawn_failed, or spawned and later exited; unless `lost` comes first. All must be set.
  struct Events {
    // The worker's program has been executed.
    std::function<void(uint64_t id, pid_t pid)> spawned;
    // START_FAILED; the message names the program, the error and what would help. No process is
    // left of it.
    std::function<void(uint64_t id, Error error)> spawn_failed;
    // The worker ended and is reaped; what was left of its process group has been sent SIGKILL,
    // and what left that is on its way out; unless it has a leader_grace.
    std::function<void(uint64_t id, ExitStatus status, ResourceUse use)> exited;
    // The guardian itself ended unexpectedly, or answered nothing for 6 s and was ended, and with
    // it all workers; nothing more is called, and Spawn fails from now on. No end command runs.
    // What the workers started is ended as well, except for a process that has set the limit
    // RLIMIT_LOCKS anew, and left the guardian's session or has a pool that ignores SIGCHLD or
    // waits for every child; and except for one that this process may not look at or end. Where the
    // hard limit is not unlimited, the variable SNAKEPIT_GUARDIAN of its environment is what
    // counts.
    std::function<void()> lost;
    // The end command of the worker that had the pid did not succeed. May be empty.
    std::function<void(pid_t pid, std::string why)> end_command_failed;
  };

  // Starts the guardian process, in about a millisecond. `io` must outlive the Guardian; it need
  // not run yet, and events come while it runs. INTERNAL when the system does not let it start.
  // `runtime_directory_fd`, of a folder or -1: the folder is removed with the files in it when the
  // guardian ends, so that it goes with a pool that is killed, too. The guardian has a copy of the
  // descriptor, and so a share in its lock (flock(2)).
  static Result<std::unique_ptr<Guardian>> Start(asio::io_context& io, Events events,
                                                 int runtime_directory_fd = -1);

  // Ends every worker and everything that the workers started with SIGKILL, and returns when all of
  // it, and the guardian, is gone and reaped: within 10 s, unless a process cannot be killed. No
  // event is called any more. May be called from any thread, inside an event too, and whether or
  // not the io_context runs; no other method may run at the same time, and the caller must hold no
  // lock that an event takes.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  // Asks for a worker, and does not wait; what became of it comes as an event. `id` is the caller's
  // choice and unique for the life of the guardian. From any thread. INVALID_ARGUMENT when the spec
  // cannot be right; START_FAILED when this process has changed its user or groups since the
  // guardian started; INTERNAL when the guardian is lost, or out of a resource: then no event
  // follows.
  Result<void> Spawn(uint64_t id, const SpawnSpec& spec);

  // Sends a signal to the worker's process group, or SIGKILL to the worker alone when it has a
  // leader_grace; does nothing when the worker has ended, or never was. In order with Spawn calls
  // of the same thread: a worker that is still starting gets it too. From any thread; does not
  // wait.
  void Signal(uint64_t id, int signal);

  // The folder in place of that given to Start, if that was removed. From any thread; does not
  // wait.
  void SetRuntimeDirectory(int fd);

  // Whether Events::lost is to follow: what the guardian left is being ended. From any thread.
  bool is_lost() const;

  // The guardian's own process, for diagnosis.
  pid_t pid() const;

 private:
  class Link;
  explicit Guardian(std::shared_ptr<Link> link);
  const std::shared_ptr<Link> link_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_GUARDIAN_H_
