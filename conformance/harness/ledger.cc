#include "conformance/harness/ledger.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "src/base/fd.h"

namespace snakepit::conformance {
namespace {

std::set<pid_t> ListChildren() {
  std::set<pid_t> children;
  for (const Process& process : ListProcesses()) {
    if (process.parent == getpid()) children.insert(process.pid);
  }
  return children;
}

// The target of a descriptor, without the number of a pipe or socket: "socket", "pipe",
// "anon_inode:[eventpoll]", "/etc/hosts".
std::string KindOfFd(const std::string& link) {
  const size_t colon = link.find(":[");
  if (colon == std::string::npos || link.starts_with("anon_inode")) return link;
  return link.substr(0, colon);
}

std::map<std::string, int> CountFds() {
  std::map<std::string, int> fds;
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return fds;
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(folder)) continue;
    char target[4096];
    const ssize_t size = readlinkat(dirfd(folder), entry->d_name, target, sizeof target);
    if (size > 0) ++fds[KindOfFd(std::string(target, size))];
  }
  closedir(folder);
  return fds;
}

// Sockets, and folders of the pool. Other temporary files of a worker are its own business.
std::vector<std::string> LeftFiles(const std::string& folder) {
  std::vector<std::string> left;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator entry(folder, error), end;
       !error && entry != end; entry.increment(error)) {
    const bool is_pools = entry->path().filename().string().starts_with("snakepit-");
    std::error_code ignored;
    if (is_pools || entry->is_socket(ignored)) left.push_back(entry->path());
  }
  return left;
}

}  // namespace

Result<void> ScratchFolder::Create() {
  // Short, since a socket's path has at most 107 bytes.
  std::string path = "/tmp/snakepit-judge-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return Fail(ErrnoError("mkdtemp " + path, errno));
  path_ = std::move(path);
  setenv("TMPDIR", path_.c_str(), 1);
  unsetenv("XDG_RUNTIME_DIR");
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return Fail(ErrnoError("prctl", errno));
  return {};
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Ledger::Ledger(std::string scratch_folder, std::string mark)
    : scratch_folder_(std::move(scratch_folder)),
      mark_(std::string(kMarkVariable) + "=" + std::move(mark)),
      children_(ListChildren()),
      fds_(CountFds()) {}

std::vector<Process> Ledger::LeftProcesses() const {
  std::vector<Process> left;
  for (Process& process : ListProcesses()) {
    const bool is_new_child = process.parent == getpid() && !children_.contains(process.pid);
    if (is_new_child || HasVariable(process.pid, mark_)) left.push_back(std::move(process));
  }
  return left;
}

std::vector<std::string> Ledger::Leaks() const {
  std::vector<std::string> leaks;
  for (const Process& process : LeftProcesses()) leaks.push_back("process " + Describe(process));
  for (const auto& [kind, count] : CountFds()) {
    const auto before = fds_.find(kind);
    const int more = count - (before == fds_.end() ? 0 : before->second);
    if (more > 0) leaks.push_back(std::to_string(more) + " more open descriptors of " + kind);
  }
  for (const std::string& path : LeftFiles(scratch_folder_)) leaks.push_back("file " + path);
  return leaks;
}

std::vector<std::string> Ledger::AwaitNoLeaks(std::chrono::milliseconds grace) const {
  const auto deadline = std::chrono::steady_clock::now() + grace;
  while (true) {
    std::vector<std::string> leaks = Leaks();
    if (leaks.empty() || std::chrono::steady_clock::now() >= deadline) return leaks;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // there is no event to wait for
  }
}

std::vector<Process> Ledger::KillWorkers() const {
  std::vector<Process> killed;
  for (Process& process : ListProcesses()) {
    if (HasVariable(process.pid, mark_) && kill(process.pid, SIGKILL) == 0) {
      killed.push_back(std::move(process));
    }
  }
  return killed;
}

void Ledger::CleanUp() const {
  for (const Process& process : LeftProcesses()) {
    kill(process.pid, SIGKILL);
    if (process.parent == getpid()) waitpid(process.pid, nullptr, 0);
  }
  std::error_code ignored;
  for (const std::string& path : LeftFiles(scratch_folder_)) {
    std::filesystem::remove_all(path, ignored);
  }
}

}  // namespace snakepit::conformance
