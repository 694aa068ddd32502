// A process held by a descriptor, so that its pid cannot become another's: pidfd_open(2).
#ifndef SNAKEPIT_PROCESS_PIDFD_H_
#define SNAKEPIT_PROCESS_PIDFD_H_

#include <sys/types.h>

#include <chrono>

#include "src/base/fd.h"

namespace snakepit {

// Not valid, with errno, if there is no such process.
UniqueFd PidfdOpen(pid_t pid);

// Does nothing if the process has ended.
void PidfdSignal(const UniqueFd& pidfd, int signal);

// True if the process ended within the time limit.
bool AwaitPidfd(const UniqueFd& pidfd, std::chrono::milliseconds timeout);

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_PIDFD_H_
