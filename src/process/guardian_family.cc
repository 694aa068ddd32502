#include "src/process/guardian_family.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

namespace snakepit {
namespace {

uint64_t first_family = kNoFamily;  // the upper half of all numbers of this guardian
uint32_t families = 0;

// For a kernel without the list of children in /proc.
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

}  // namespace

void InitFamilies() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_LOCKS, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_LOCKS, &limit);
  uint32_t random = 0;
  if (limit.rlim_max != RLIM_INFINITY ||
      getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) {
    return;
  }
  // Neither 0 nor near the number that stands for no limit.
  first_family = (uint64_t{random} % 0x7FFF'FFFF + 1) << kFamilyBits;
}

uint64_t NewFamily() { return first_family == kNoFamily ? kNoFamily : first_family + ++families; }

void JoinFamily(uint64_t family) {
  if (family == kNoFamily) return;
  const rlimit limit = {family, RLIM_INFINITY};
  setrlimit(RLIMIT_LOCKS, &limit);
}

uint64_t FamilyOf(pid_t pid) {
  if (first_family == kNoFamily) return kNoFamily;
  // None for a process of another user, which could not be signalled either.
  const uint64_t number = FamilyNumberOf(pid);
  return number >> kFamilyBits == first_family >> kFamilyBits ? number : kNoFamily;
}

void VisitChildren(void (*visit)(pid_t)) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", static_cast<int>(getpid()));
  FILE* const file = fopen(path, "re");
  if (file == nullptr) return VisitChildrenByScan(visit);
  int pid;
  while (fscanf(file, "%d", &pid) == 1) visit(pid);
  fclose(file);
}

}  // namespace snakepit
