#include "src/process/worker_family.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <sstream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/fd.h"
#include "src/base/proc.h"
#include "src/base/shortage.h"
#include "src/process/family_number.h"

namespace snakepit {
namespace {

// Longest chain of parents to follow. A longer one is made on purpose.
constexpr int kMaxAncestors = 256;

// The worker and its descendants are looked at first: so many processes, and so many tasks of each.
// Any others are found among all processes.
constexpr size_t kMaxListedProcesses = 64;
constexpr int kMaxListedTasks = 64;

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

Folder OpenFolder(const std::string& path) { return {opendir(path.c_str()), closedir}; }

// Looks each process up at most once.
class ProcessTable {
 public:
  const std::optional<ProcessIdentity>& Of(pid_t pid) {
    const auto found = known_.find(pid);
    if (found != known_.end()) return found->second;
    errno = 0;
    auto process = ProcessIdentity::Of(pid);
    if (!process) Missed(errno);
    return known_.emplace(pid, std::move(process)).first->second;
  }

  // Takes note that something could not be looked at, and why.
  void Missed(int error_number) {
    if (IsShortage(error_number)) shortage_ = error_number;
  }
  // The shortage that prevented a look, or 0.
  int shortage() const { return shortage_; }

 private:
  int shortage_ = 0;
  std::unordered_map<pid_t, std::optional<ProcessIdentity>> known_;
};

bool IsIn(const std::optional<ProcessIdentity>& worker,
          const std::optional<ProcessIdentity>& guardian, uint64_t number, pid_t pid,
          ProcessTable& table) {
  pid_t ancestor = pid;
  for (int i = 0; i < kMaxAncestors && ancestor > 1; ++i) {
    const auto& process = table.Of(ancestor);
    if (!process) return false;
    if (worker && process->IsSameAs(*worker)) return true;
    if (guardian && process->IsSameAs(*guardian)) {
      return ancestor != pid && number != kNoFamily && FamilyNumberOf(pid) == number;
    }
    ancestor = process->parent;
  }
  return false;
}

// True if the process has the socket. Each descriptor that it looks at counts against `fds_left`.
bool HasSocketOpen(pid_t pid, const std::string& socket, int* fds_left, ProcessTable& table) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd";
  const Folder fds = OpenFolder(path);
  if (!fds) {
    table.Missed(errno);
    return false;
  }
  while (const dirent* entry = readdir(fds.get())) {
    if (entry->d_name[0] == '.') continue;
    if (--*fds_left < 0) return false;
    char target[64];
    const ssize_t size = readlinkat(dirfd(fds.get()), entry->d_name, target, sizeof target);
    if (size > 0 && std::string_view(target, static_cast<size_t>(size)) == socket) return true;
  }
  return false;
}

// Adds the children of a process as far as the system lists them.
void AddChildren(pid_t pid, std::vector<pid_t>* processes) {
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task/";
  const Folder folder = OpenFolder(tasks);
  int tasks_left = kMaxListedTasks;
  while (const dirent* entry = folder ? readdir(folder.get()) : nullptr) {
    if (entry->d_name[0] == '.') continue;
    if (--tasks_left < 0) return;
    std::istringstream children(ReadFile(tasks + entry->d_name + "/children").value_or(""));
    for (pid_t child; processes->size() < kMaxListedProcesses && children >> child;) {
      processes->push_back(child);
    }
  }
}

}  // namespace

std::optional<ProcessIdentity> ProcessIdentity::Of(pid_t pid) {
  const auto stat = ReadProcStat(pid);
  if (!stat) return std::nullopt;
  return ProcessIdentity{.pid = pid, .start_time = stat->start_ticks, .parent = stat->parent};
}

WorkerFamily::WorkerFamily(pid_t worker)
    : worker_(ProcessIdentity::Of(worker)), number_(FamilyNumberOf(worker)) {
  if (worker_ && worker_->parent > 1) guardian_ = ProcessIdentity::Of(worker_->parent);
}

bool WorkerFamily::Has(pid_t pid) const {
  ProcessTable table;
  return IsIn(worker_, guardian_, number_, pid, table);
}

Result<bool> WorkerFamily::HasSocket(uint64_t inode) const {
  if (!worker_) {
    return Fail(ErrorCode::kStartFailed, "/proc does not show the worker's processes");
  }
  const std::string socket = "socket:[" + std::to_string(inode) + "]";
  int fds_left = kMaxFds;
  ProcessTable table;
  // Usually it is the worker itself or a child of it.
  std::vector<pid_t> first = {worker_->pid};
  for (size_t i = 0; i < first.size(); ++i) {
    if (!IsIn(worker_, guardian_, number_, first[i], table)) continue;
    if (HasSocketOpen(first[i], socket, &fds_left, table)) return true;
    AddChildren(first[i], &first);
  }
  const std::vector<pid_t> processes = ListProcesses();
  if (processes.empty()) return Fail(ErrnoError("cannot open /proc", errno));
  for (const pid_t pid : processes) {
    if (std::find(first.begin(), first.end(), pid) != first.end()) continue;
    if (!IsIn(worker_, guardian_, number_, pid, table)) continue;
    if (HasSocketOpen(pid, socket, &fds_left, table)) return true;
  }
  if (table.shortage() != 0) {
    return Fail(ErrnoError("cannot look at the worker's processes", table.shortage()));
  }
  if (fds_left >= 0) return false;
  return Fail(ErrorCode::kStartFailed, "the worker's processes have more than " +
                                           std::to_string(kMaxFds) +
                                           " descriptors, which are not all looked at");
}

}  // namespace snakepit
