// Tracers that hold a killed worker. A traced process is not reaped before its tracer lets go of it
// (ptrace(2)), and the worker's own child can be that tracer. C library only.
#ifndef SNAKEPIT_PROCESS_GUARDIAN_TRACER_H_
#define SNAKEPIT_PROCESS_GUARDIAN_TRACER_H_

#include <sys/types.h>

namespace snakepit {

// Kills each tracer of the process, or of one of its threads, that descends from this process,
// unless `is_to_live` is true for it. Foreign debuggers stay.
void KillOwnTracers(pid_t pid, bool (*is_to_live)(pid_t tracer));

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_GUARDIAN_TRACER_H_
