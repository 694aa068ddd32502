#include "src/process/strays.h"

#include <errno.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <vector>

#include "src/base/fd.h"
#include "src/base/proc.h"
#include "src/process/family_number.h"
#include "src/process/guardian/protocol.h"
#include "src/process/pidfd.h"

namespace snakepit {
namespace {

constexpr std::string_view kMarkVariable = "SNAKEPIT_GUARDIAN=";
// A process in the middle of execve(2) shows no environment, so only two looks in a row that find
// nothing count.
constexpr int kLooks = 2;

// A process is a zombie as soon as its first thread has ended. Until the last one has, it is still
// the parent of its children.
bool IsAlive(const ProcStat& process) {
  return process.state != 'X' && (process.state != 'Z' || process.threads > 1);
}

// This process and its ancestors.
std::set<pid_t> Ancestry() {
  std::set<pid_t> pids;
  for (pid_t pid = getpid(); pid > 0 && pids.insert(pid).second;) {
    const auto process = ReadProcStat(pid);
    pid = process ? process->parent : 0;
  }
  return pids;
}

bool HasFamilies() {
  rlimit limit = {};
  return getrlimit(RLIMIT_LOCKS, &limit) == 0 && limit.rlim_max == RLIM_INFINITY;
}

bool HasMark(pid_t pid, const GuardianMark& mark) {
  if (!HasFamilies()) return HasEnvironmentVariable(pid, mark.variable);
  return FamilyNumberOf(pid) >> kFamilyBits == mark.families;
}

struct Family {
  const GuardianSession& guardian;
  const GuardianMark& mark;
  std::set<pid_t> ancestry = Ancestry();

  // Sure only if the pid cannot become another process's in the meantime; otherwise a guess.
  bool Has(pid_t pid) const {
    const auto process = ReadProcStat(pid);
    if (!process || !IsAlive(*process)) return false;
    // Held after the look, therefore held at the look: no other session has had the number.
    if (process->session == guardian.session && guardian.is_held()) return true;
    return ancestry.count(process->parent) > 0 && ancestry.count(pid) == 0 && HasMark(pid, mark);
  }
};

std::vector<pid_t> List(const Family& family) {
  std::vector<pid_t> pids = ListProcesses();
  std::erase_if(pids, [&family](pid_t pid) { return !family.Has(pid); });
  return pids;
}

}  // namespace

Result<GuardianMark> NewGuardianMark() {
  uint64_t random[3];
  // So few bytes come whole, or not at all. getrandom(2)
  ssize_t got = -1;
  do {
    got = getrandom(random, sizeof random, 0);
  } while (got < 0 && errno == EINTR);
  if (got != sizeof random) return Fail(ErrnoError("cannot make a mark for workers", errno));
  char text[33];
  snprintf(text, sizeof text, "%016lx%016lx", random[0], random[1]);
  return GuardianMark{
      .families = static_cast<uint32_t>(random[2] % guardian_protocol::kLargestFamilies + 1),
      .variable = std::string(kMarkVariable) + text};
}

void KillStrays(const GuardianSession& session, const GuardianMark& mark,
                std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const Family family{session, mark};
  for (int looks = 0; looks < kLooks && std::chrono::steady_clock::now() < deadline; ++looks) {
    for (const pid_t pid : List(family)) {
      looks = -1;
      const UniqueFd pidfd = PidfdOpen(pid);
      // Checked again, because only now the pid cannot become another process's.
      if (!pidfd.valid() || !family.Has(pid)) continue;
      PidfdSignal(pidfd, SIGKILL);
      AwaitPidfd(pidfd, std::max(std::chrono::milliseconds(0),
                                 std::chrono::duration_cast<std::chrono::milliseconds>(
                                     deadline - std::chrono::steady_clock::now())));
    }
  }
}

}  // namespace snakepit
