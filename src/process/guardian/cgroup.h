// The cgroups of the guardian's workers: snakepit-GUARDIAN-ID in a folder that the pool found.
// cgroups(7), version 2. C library only.
#ifndef SNAKEPIT_PROCESS_GUARDIAN_CGROUP_H_
#define SNAKEPIT_PROCESS_GUARDIAN_CGROUP_H_

#include <stdint.h>
#include <sys/types.h>

namespace snakepit {

struct Cgroup {
  int parent_fd;  // -1: none
  pid_t guardian;
  uint64_t id;
};

// The steps of the child that becomes the worker. Each returns 0 or the errno.
int MakeCgroup(const Cgroup& cgroup);
int WriteCgroupFile(const Cgroup& cgroup, const char* name, const char* text);
int EnterCgroup(const Cgroup& cgroup);

// Kills all processes in it, if the kernel can do that (Linux 5.14).
void KillCgroup(const Cgroup& cgroup);

// False if something is still in it.
bool RemoveCgroup(const Cgroup& cgroup);

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_GUARDIAN_CGROUP_H_
