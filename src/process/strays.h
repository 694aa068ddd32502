// Strays: descendants of the workers of a guardian that was killed and could not end them. The
// workers themselves die with the guardian by their parent-death signal; their descendants have
// none.
#ifndef SNAKEPIT_PROCESS_STRAYS_H_
#define SNAKEPIT_PROCESS_STRAYS_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "snakepit/error.h"

namespace snakepit {

// Marks that no other guardian's workers have.
struct GuardianMark {
  uint32_t families = 0;  // guardian_protocol::kFamiliesVariable
  std::string variable;   // NAME=value in their environment
};

// INTERNAL if the system has no random bytes.
Result<GuardianMark> NewGuardianMark();

// The session of a guardian. Its number is known to be still the guardian's only while `is_held` is
// true.
struct GuardianSession {
  pid_t session = -1;
  std::function<bool()> is_held;
};

// Sends SIGKILL, until none is left or the time is over, to each process that
// - is in the session, while that is held, or
// - has the mark, and this process or one of its ancestors as its parent: orphans of a guardian are
//   adopted there. A process that merely got a copy of the mark, from a job scheduler for example,
//   has that scheduler as its parent.
// The mark is the family. Only if the guardian could give none, because the hard limit RLIMIT_LOCKS
// is not unlimited, the mark is the variable: reading an environment can take as long as its
// process likes. A process is not found if it left the session (or the session is not held) and
// lost the mark, or if this process may not inspect it.
void KillStrays(const GuardianSession& session, const GuardianMark& mark,
                std::chrono::milliseconds timeout);

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_STRAYS_H_
