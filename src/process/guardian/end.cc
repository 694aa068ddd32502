#include "src/process/guardian/end.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/process/guardian/child.h"
#include "src/process/guardian/list.h"

namespace snakepit {
namespace {

using namespace guardian_protocol;

struct Grace {
  uint64_t family;
  Cgroup cgroup;
  int64_t ends_ms;
};

struct EndCommand {
  uint64_t id;  // the worker's
  pid_t worker;
  pid_t pid;
  int64_t ends_ms;
  bool was_killed;
};

List<Grace> graces;
List<EndCommand> commands;
List<Cgroup> old_cgroups;  // to be removed, but possibly not empty yet

void EndCgroup(const Cgroup& cgroup) {
  if (cgroup.parent_fd < 0) return;
  KillCgroup(cgroup);
  old_cgroups.Add(cgroup);
}

// 0, or the errno.
int StartEndCommand(uint64_t id, pid_t worker, const EndPlan& plan, int64_t now_ms) {
  const pid_t pid = fork();
  if (pid == 0) BecomeEndCommand(plan.command_spec_fd, plan.start_directory_fd);
  const int error = pid < 0 ? errno : 0;
  close(plan.command_spec_fd);
  close(plan.start_directory_fd);
  if (pid < 0) return error;
  setpgid(pid, pid);  // here and in the child, so that the group exists for both
  commands.Add({id, worker, pid, now_ms + kEndCommandLimitMs, false});
  return 0;
}

}  // namespace

int64_t MonotonicMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

int BeginEnd(uint64_t id, pid_t pid, uint64_t family, const Cgroup& cgroup, const EndPlan& plan,
             int64_t now_ms) {
  if (plan.family_grace_ms > 0) {
    graces.Add({family, cgroup, now_ms + plan.family_grace_ms});
  } else {
    EndCgroup(cgroup);
  }
  return plan.command_spec_fd >= 0 ? StartEndCommand(id, pid, plan, now_ms) : 0;
}

bool IsInGrace(uint64_t family) {
  for (size_t i = 0; i < graces.count; ++i) {
    if (graces.at[i].family == family) return true;
  }
  return false;
}

bool IsEndCommand(pid_t pid) {
  for (size_t i = 0; i < commands.count; ++i) {
    if (commands.at[i].pid == pid) return true;
  }
  return false;
}

bool FinishEndCommand(pid_t pid, int wait_status, Event* event) {
  for (size_t i = 0; i < commands.count; ++i) {
    const EndCommand command = commands.at[i];
    if (command.pid != pid) continue;
    commands.RemoveAt(i);
    *event = {};
    event->kind = kEndCommandFailed;
    event->id = command.id;
    event->pid = command.worker;
    event->error = command.was_killed ? ETIMEDOUT : 0;
    event->wait_status = wait_status;
    return wait_status != 0;
  }
  return false;
}

bool EndOverdue(int64_t now_ms) {
  for (size_t i = 0; i < commands.count; ++i) {
    EndCommand& command = commands.at[i];
    if (command.was_killed || command.ends_ms > now_ms) continue;
    kill(-command.pid, SIGKILL);  // it is not reaped yet, so the pid is its own
    command.was_killed = true;
  }
  bool grace_ended = false;
  for (size_t i = graces.count; i-- > 0;) {
    if (graces.at[i].ends_ms > now_ms) continue;
    EndCgroup(graces.at[i].cgroup);
    graces.RemoveAt(i);
    grace_ended = true;
  }
  return grace_ended;
}

int64_t NextOverdueMs(int64_t now_ms) {
  int64_t next_ms = INT64_MAX;
  for (size_t i = 0; i < commands.count; ++i) {
    if (!commands.at[i].was_killed && commands.at[i].ends_ms < next_ms) {
      next_ms = commands.at[i].ends_ms;
    }
  }
  for (size_t i = 0; i < graces.count; ++i) {
    if (graces.at[i].ends_ms < next_ms) next_ms = graces.at[i].ends_ms;
  }
  if (next_ms == INT64_MAX) return -1;
  return next_ms > now_ms ? next_ms - now_ms : 0;
}

bool AllHaveEnded() { return graces.count == 0 && commands.count == 0; }

void RemoveOldCgroups() {
  for (size_t i = old_cgroups.count; i-- > 0;) {
    if (!RemoveCgroup(old_cgroups.at[i])) continue;
    close(old_cgroups.at[i].parent_fd);
    old_cgroups.RemoveAt(i);
  }
}

}  // namespace snakepit
