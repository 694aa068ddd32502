#include "src/process/guardian/family.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/process/guardian/protocol.h"

namespace snakepit {
namespace {

constexpr pid_t kLargestNumber = 1 << 22;  // the largest kernel.pid_max

uint64_t first_family = kNoFamily;  // the upper half of all numbers of this guardian
uint32_t given_families = 0;

// Fallback for a kernel without the list of children in /proc.
void VisitChildrenByScan(void (*visit)(pid_t)) {
  DIR* const processes = opendir("/proc");
  if (processes == nullptr) return;
  const pid_t self = getpid();
  while (const dirent* entry = readdir(processes)) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
    FILE* const file = fopen(path, "re");
    if (file == nullptr) continue;
    char text[512];
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    const char* const after_name = strrchr(text, ')');
    int parent = 0;
    if (after_name != nullptr && sscanf(after_name, ") %*c %d", &parent) == 1 && parent == self) {
      visit(atoi(entry->d_name));
    }
  }
  closedir(processes);
}

// The largest pid given out so far: that of a short-lived child. -1 if no child can be made.
pid_t NewestNumber() {
  // Same as fork(2), except that no SIGCHLD follows.
  const pid_t pid = static_cast<pid_t>(syscall(SYS_clone, 0, nullptr, nullptr, nullptr, 0));
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid(pid, nullptr, __WALL);
  return pid;
}

// Fallback without /proc. Pids are given in ascending order, so a descendant's is between this
// process's own and the newest. Once they have wrapped around, it can be any. If no newest pid can
// be had, this one call tries all.
void VisitChildrenByNumber(void (*visit)(pid_t)) {
  static bool have_begun_anew = false;
  static pid_t last_newest = 0;
  const pid_t self = getpid();
  const pid_t newest = NewestNumber();
  if (newest > 0) {
    if (newest < self || newest < last_newest) have_begun_anew = true;
    last_newest = newest;
  }
  const bool can_be_any = have_begun_anew || newest < 0;
  const pid_t first = can_be_any ? 1 : self + 1;
  const pid_t last = can_be_any ? kLargestNumber : newest;
  for (pid_t pid = first; pid <= last; ++pid) {
    siginfo_t info = {};
    if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0) visit(pid);
  }
}

}  // namespace

void InitFamilies(uint32_t families) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_LOCKS, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_LOCKS, &limit);
  if (limit.rlim_max == RLIM_INFINITY) first_family = uint64_t{families} << kFamilyBits;
}

uint64_t NewFamily() {
  return first_family == kNoFamily ? kNoFamily : first_family + ++given_families;
}

void JoinFamily(uint64_t family) {
  if (family == kNoFamily) return;
  const rlimit limit = {family, RLIM_INFINITY};
  setrlimit(RLIMIT_LOCKS, &limit);
}

uint64_t FamilyOf(pid_t pid) {
  if (first_family == kNoFamily) return kNoFamily;
  // A process of another user has none, and could not be signalled either.
  const uint64_t number = FamilyNumberOf(pid);
  return number >> kFamilyBits == first_family >> kFamilyBits ? number : kNoFamily;
}

void VisitChildren(void (*visit)(pid_t)) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", static_cast<int>(getpid()));
  FILE* const file = fopen(path, "re");
  if (file == nullptr) {
    return access("/proc/self/stat", F_OK) == 0 ? VisitChildrenByScan(visit)
                                                : VisitChildrenByNumber(visit);
  }
  int pid;
  while (fscanf(file, "%d", &pid) == 1) visit(pid);
  fclose(file);
}

}  // namespace snakepit
