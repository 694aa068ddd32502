// What the guardian still does for a worker that has ended: its family ends, at once or after a
// grace; its cgroup is removed; its end command runs. C library only.
#ifndef SNAKEPIT_SRC_PROCESS_GUARDIAN_END_H_
#define SNAKEPIT_SRC_PROCESS_GUARDIAN_END_H_

#include <stdint.h>
#include <sys/types.h>

#include "src/process/guardian_cgroup.h"
#include "src/process/guardian_protocol.h"

namespace snakepit {

// Of one worker.
struct EndPlan {
  uint32_t family_grace_ms;  // 0: its family ends at once
  int command_spec_fd;       // guardian_protocol::kSpecFd; -1: no command
  int start_directory_fd;    // of the command; -1 likewise
};

int64_t MonotonicMs();

// The worker is reaped. Takes the descriptors over. `now_ms` is MonotonicMs. Returns 0, or why the
// end command could not be started: an errno.
int BeginEnd(uint64_t id, pid_t pid, uint64_t family, const Cgroup& cgroup, const EndPlan& plan,
             int64_t now_ms);

// Whether the worker of the family has ended, and its grace has not.
bool IsInGrace(uint64_t family);

// Whether the child runs as an end command.
bool IsEndCommand(pid_t pid);

// The end command was reaped. Returns true when it did not succeed, with the event that says so.
bool FinishEndCommand(pid_t pid, int wait_status, guardian_protocol::Event* event);

// Ends what is over its time. Returns whether a grace has ended: its family is then to be killed.
bool EndOverdue(int64_t now_ms);

// Until EndOverdue has something to do; -1: it has not.
int64_t NextOverdueMs(int64_t now_ms);

// Whether there is nothing left of the above.
bool AllHaveEnded();

// Of workers that have ended, as far as they are empty by now.
void RemoveOldCgroups();

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_GUARDIAN_END_H_
