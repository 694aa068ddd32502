// Which processes are a worker's own, and whether one of them has a socket, as /proc tells.
#ifndef SNAKEPIT_SRC_PROCESS_WORKER_FAMILY_H_
#define SNAKEPIT_SRC_PROCESS_WORKER_FAMILY_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "snakepit/error.h"

namespace snakepit {

// A process, and not a later one with the same number.
struct ProcessIdentity {
  pid_t pid = 0;
  uint64_t start_time = 0;  // in ticks since the system began
  pid_t parent = 0;

  // Nothing where there is no such process, or /proc does not show it.
  static std::optional<ProcessIdentity> Of(pid_t pid);

  bool IsSameAs(const ProcessIdentity& other) const {
    return pid == other.pid && start_time == other.start_time;
  }
};

// The worker's process and all that it started, in whatever process group or session that is. Each
// of them descends from the worker, or else from the guardian, which takes in orphans, and has the
// number of the family. The number alone would not do: other users can read it and take it.
// Usable from any thread.
class WorkerFamily {
 public:
  // The sockets of a family are looked for among so many descriptors at most.
  static constexpr int kMaxFds = 16'384;

  // `worker` runs, as a child of its guardian.
  explicit WorkerFamily(pid_t worker);

  bool Has(pid_t pid) const;

  // Whether a process of the family has the socket. START_FAILED where that cannot be told: /proc
  // does not show the worker, or there are more than kMaxFds descriptors to look at. INTERNAL where
  // this process, or the system, is short of what it takes to look.
  Result<bool> HasSocket(uint64_t inode) const;

 private:
  std::optional<ProcessIdentity> worker_;
  std::optional<ProcessIdentity> guardian_;
  uint64_t number_ = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_WORKER_FAMILY_H_
