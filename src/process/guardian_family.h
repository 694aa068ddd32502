// The family of a worker: all that it started, in whatever process group or session that is.
//
// The guardian is a subreaper: a process whose parent has ended becomes its child. The environment
// would not tell reliably of which worker such a child is: a program may have cleaned or
// overwritten it, and to read it can take as long as the process holds its memory map. So each
// worker gets a number as its soft limit RLIMIT_LOCKS. That is without any effect since Linux
// 2.4.25, but the kernel still keeps it for a process and hands it on to all that this starts.
// C library only.
#ifndef SNAKEPIT_SRC_PROCESS_GUARDIAN_FAMILY_H_
#define SNAKEPIT_SRC_PROCESS_GUARDIAN_FAMILY_H_

#include <stdint.h>
#include <sys/types.h>

#include "src/process/family_number.h"

namespace snakepit {

// Of the guardian, once at its start: all numbers have the upper half `families`, which no other
// guardian has. It leaves the family that it may be in itself, which is that of the worker that has
// a pool of its own: it ends by itself, after its own workers.
void InitFamilies(uint32_t families);

// A number that no other guardian gives. kNoFamily when there is none to give.
uint64_t NewFamily();

// Makes the calling process the first of the family.
void JoinFamily(uint64_t family);

// kNoFamily when it is in none of this guardian's.
uint64_t FamilyOf(pid_t pid);

// Calls `visit` with each child of this process. One may be left out when another ends at the same
// time, which is told by a SIGCHLD of its own.
void VisitChildren(void (*visit)(pid_t child));

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_GUARDIAN_FAMILY_H_
