// The number that all processes of a worker's family share. The guardian sets it, and others read
// it. guardian/family.h says what a family is. C library only.
#ifndef SNAKEPIT_PROCESS_FAMILY_NUMBER_H_
#define SNAKEPIT_PROCESS_FAMILY_NUMBER_H_

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

namespace snakepit {

// No family, or a number that the hard limit of this process forbids: such a process is found only
// when everything ends.
inline constexpr uint64_t kNoFamily = 0;

// The lower bits count the families of one guardian. The upper bits tell guardians apart.
inline constexpr int kFamilyBits = 32;

// kNoFamily if the process is in none, has gone, or belongs to another user.
inline uint64_t FamilyNumberOf(pid_t pid) {
  rlimit limit = {};
  if (prlimit(pid, RLIMIT_LOCKS, nullptr, &limit) != 0) return kNoFamily;
  if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >> kFamilyBits == 0) return kNoFamily;
  return limit.rlim_cur;
}

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_FAMILY_NUMBER_H_
