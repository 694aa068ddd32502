// The family of a worker: all its descendants, in any process group or session.
//
// The guardian is a subreaper: a process whose parent has ended becomes its child. The environment
// would not tell reliably of which worker such a child is. A program may have cleaned or
// overwritten it, and reading it can take as long as the process holds its memory map. So each
// worker gets a number as its soft limit RLIMIT_LOCKS. That limit has had no effect since Linux
// 2.4.25, but the kernel still keeps it for each process, and children inherit it. C library only.
#ifndef SNAKEPIT_PROCESS_GUARDIAN_FAMILY_H_
#define SNAKEPIT_PROCESS_GUARDIAN_FAMILY_H_

#include <stdint.h>
#include <sys/types.h>

#include "src/process/family_number.h"

namespace snakepit {

// Called by the guardian once, at its start. All numbers get the upper half `families`, which no
// other guardian has. The guardian may be in a family itself, if a worker has a pool of its own. It
// leaves that family, as it ends by itself after its own workers.
void InitFamilies(uint32_t families);

// Returns a number that no other guardian gives, or kNoFamily if there is none.
uint64_t NewFamily();

// Makes the calling process the first of the family.
void JoinFamily(uint64_t family);

// The family of a process; kNoFamily if it is in none of this guardian's.
uint64_t FamilyOf(pid_t pid);

// Calls `visit` with each child of this process. One may be left out if another ends at the same
// time; that one's SIGCHLD leads to the next visit.
void VisitChildren(void (*visit)(pid_t child));

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_GUARDIAN_FAMILY_H_
