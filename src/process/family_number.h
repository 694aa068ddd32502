// The number that a worker's family has in common, as the guardian gives it and others read it.
// guardian_family.h says what a family is. C library only.
#ifndef SNAKEPIT_SRC_PROCESS_FAMILY_NUMBER_H_
#define SNAKEPIT_SRC_PROCESS_FAMILY_NUMBER_H_

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

namespace snakepit {

// Of no family, or one whose number the hard limit of this process forbids: such a process is found
// only when everything ends.
inline constexpr uint64_t kNoFamily = 0;

// The lower bits count the families of a guardian, the upper ones tell guardians apart.
inline constexpr int kFamilyBits = 32;

// kNoFamily: it is in none, or has gone, or is of another user.
inline uint64_t FamilyNumberOf(pid_t pid) {
  rlimit limit = {};
  if (prlimit(pid, RLIMIT_LOCKS, nullptr, &limit) != 0) return kNoFamily;
  if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >> kFamilyBits == 0) return kNoFamily;
  return limit.rlim_cur;
}

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_FAMILY_NUMBER_H_
