// What is left of a guardian's workers when it was killed and could not see them off. The workers
// themselves die with it by their parent-death signal; what they started has none.
#ifndef SNAKEPIT_SRC_PROCESS_STRAYS_H_
#define SNAKEPIT_SRC_PROCESS_STRAYS_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "snakepit/error.h"

namespace snakepit {

// What no other guardian's workers have.
struct GuardianMark {
  uint32_t families = 0;  // guardian_protocol::kFamiliesVariable
  std::string variable;   // of their environment, as NAME=value
};

// INTERNAL when the system has no random bytes to give.
Result<GuardianMark> NewGuardianMark();

// The session of a guardian. Only as long as `is_held` says so is its number known to be still that
// of the guardian.
struct GuardianSession {
  pid_t session = -1;
  std::function<bool()> is_held;
};

// Sends SIGKILL until none is left, or the time is over, to each process that
// - is in the session, while that is held, or
// - has the mark, and for a parent this process or one of its ancestors: that is who takes in the
//   orphans of a guardian. A process that was merely given a copy of the mark, by a scheduler of
//   jobs for example, has that scheduler for a parent.
// The mark is the family. Only where the guardian could give none, as the hard limit RLIMIT_LOCKS
// is not unlimited, it is the variable: to read an environment can take as long as its process
// likes. Who left the session and has lost the mark, or may not be looked at, is not found; nor who
// has lost the mark, where the session is not held.
void KillStrays(const GuardianSession& session, const GuardianMark& mark,
                std::chrono::milliseconds timeout);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_STRAYS_H_
