// A process held by a descriptor, so that its number cannot become another one's. pidfd_open(2)
#ifndef SNAKEPIT_SRC_PROCESS_PIDFD_H_
#define SNAKEPIT_SRC_PROCESS_PIDFD_H_

#include <sys/types.h>

#include <chrono>

#include "src/base/fd.h"

namespace snakepit {

// Not valid, with errno, when there is no such process.
UniqueFd PidfdOpen(pid_t pid);

// Does nothing when the process has ended.
void PidfdSignal(const UniqueFd& pidfd, int signal);

// Whether the process ended within the time limit.
bool AwaitPidfd(const UniqueFd& pidfd, std::chrono::milliseconds timeout);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_PIDFD_H_
