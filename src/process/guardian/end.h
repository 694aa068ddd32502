// The guardian's duties for a worker that has ended. Its family ends, at once or after a grace. Its
// cgroup is removed. Its end command runs. C library only.
#ifndef SNAKEPIT_PROCESS_GUARDIAN_END_H_
#define SNAKEPIT_PROCESS_GUARDIAN_END_H_

#include <stdint.h>
#include <sys/types.h>

#include "src/process/guardian/cgroup.h"
#include "src/process/guardian/protocol.h"

namespace snakepit {

// The duties for one worker.
struct EndPlan {
  uint32_t family_grace_ms;  // 0: its family ends at once
  int command_spec_fd;       // guardian_protocol::kSpecFd; -1: no command
  int start_directory_fd;    // the command's; -1: no command
};

int64_t MonotonicMs();

// Begins the duties for a reaped worker. Takes the descriptors over. `now_ms` is MonotonicMs.
// Returns 0, or the errno if the end command could not be started.
int BeginEnd(uint64_t id, pid_t pid, uint64_t family, const Cgroup& cgroup, const EndPlan& plan,
             int64_t now_ms);

// True if the family's worker has ended and its grace has not.
bool IsInGrace(uint64_t family);

// True if the child runs as an end command.
bool IsEndCommand(pid_t pid);

// Takes note that the end command was reaped. Returns true if it failed, with the event that says
// so.
bool FinishEndCommand(pid_t pid, int wait_status, guardian_protocol::Event* event);

// Ends the commands and graces that are over their time. Returns true if a grace has ended: the
// caller must then kill its family.
bool EndOverdue(int64_t now_ms);

// Time until EndOverdue is due; -1 if it is not.
int64_t NextOverdueMs(int64_t now_ms);

// True if no grace and no command is left.
bool AllHaveEnded();

// Removes the cgroups of ended workers as far as they are empty by now.
void RemoveOldCgroups();

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_GUARDIAN_END_H_
