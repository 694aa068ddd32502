// The guardian's child, from its fork to the execution of the worker's program. C library only.
#ifndef SNAKEPIT_PROCESS_GUARDIAN_CHILD_H_
#define SNAKEPIT_PROCESS_GUARDIAN_CHILD_H_

#include <stdint.h>
#include <sys/types.h>

#include "src/process/guardian/cgroup.h"

namespace snakepit {

// Written to its start_fd by a child that could not become a worker.
struct SpawnFailure {
  int32_t step;
  int32_t error;
  int32_t which;
};

// Executes the worker's program, which closes start_fd. `fds` came with the request, indexed by
// guardian_protocol::SpawnFd. May block for as long as a file system does.
[[noreturn]] void BecomeWorker(const int* fds, const Cgroup& cgroup, uint64_t family, int start_fd,
                               pid_t guardian);

// Executes the end command of the worker that was started with the two descriptors: in the worker's
// working directory and environment, and with no other setting of the worker. Exit code 127: the
// command cannot be executed.
[[noreturn]] void BecomeEndCommand(int spec_fd, int start_directory_fd);

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_GUARDIAN_CHILD_H_
