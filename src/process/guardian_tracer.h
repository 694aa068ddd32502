// Who holds a worker that was killed. A process that is traced is not reaped before its tracer lets
// go of it, ptrace(2), and a worker's own child can be that tracer. C library only.
#ifndef SNAKEPIT_SRC_PROCESS_GUARDIAN_TRACER_H_
#define SNAKEPIT_SRC_PROCESS_GUARDIAN_TRACER_H_

#include <sys/types.h>

namespace snakepit {

// Kills each tracer of the process, or of one of its threads, that this process or one of its
// descendants started, unless `is_to_live` says so. Anybody else's debugger stays.
void KillOwnTracers(pid_t pid, bool (*is_to_live)(pid_t tracer));

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_GUARDIAN_TRACER_H_
