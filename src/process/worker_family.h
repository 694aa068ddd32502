// The processes of a worker and their sockets, as shown by /proc.
#ifndef SNAKEPIT_PROCESS_WORKER_FAMILY_H_
#define SNAKEPIT_PROCESS_WORKER_FAMILY_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "snakepit/error.h"

namespace snakepit {

// A process, told apart from a later one with the same pid.
struct ProcessIdentity {
  pid_t pid = 0;
  uint64_t start_time = 0;  // clock ticks since boot
  pid_t parent = 0;

  // Nothing if there is no such process, or /proc does not show it.
  static std::optional<ProcessIdentity> Of(pid_t pid);

  bool IsSameAs(const ProcessIdentity& other) const {
    return pid == other.pid && start_time == other.start_time;
  }
};

// The worker's process and all its descendants, in any process group or session. Each descends from
// the worker, or else from the guardian, which adopts orphans, and has the number of the family.
// The number alone would not do: other users can read and take it. Usable from any thread.
class WorkerFamily {
 public:
  // Most descriptors of a family that HasSocket looks at.
  static constexpr int kMaxFds = 16'384;

  // `worker` runs, as a child of its guardian.
  explicit WorkerFamily(pid_t worker);

  bool Has(pid_t pid) const;

  // True if a process of the family has the socket. START_FAILED if that cannot be told: /proc does
  // not show the worker, or there are more than kMaxFds descriptors. INTERNAL if this process, or
  // the system, is short of a resource that the look takes.
  Result<bool> HasSocket(uint64_t inode) const;

 private:
  std::optional<ProcessIdentity> worker_;
  std::optional<ProcessIdentity> guardian_;
  uint64_t number_ = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_WORKER_FAMILY_H_
