// The guardian's child, from its fork to the execution of the worker's program. C library only.
#ifndef SNAKEPIT_SRC_PROCESS_GUARDIAN_CHILD_H_
#define SNAKEPIT_SRC_PROCESS_GUARDIAN_CHILD_H_

#include <stdint.h>
#include <sys/types.h>

#include "src/process/guardian_cgroup.h"

namespace snakepit {

// What a child that could not become a worker writes to its start_fd.
struct SpawnFailure {
  int32_t step;
  int32_t error;
  int32_t which;
};

// Executes the worker's program, which closes start_fd. `fds` is what came with the request, by
// guardian_protocol::SpawnFd. It may block, for as long as a file system does.
[[noreturn]] void BecomeWorker(const int* fds, const Cgroup& cgroup, uint64_t family, int start_fd,
                               pid_t guardian);

// Executes the end command of the worker that was started with the two descriptors: in its working
// directory and with its environment, but nothing else of it. Exit code 127: it cannot be executed.
[[noreturn]] void BecomeEndCommand(int spec_fd, int start_directory_fd);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_GUARDIAN_CHILD_H_
