#include "src/process/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>
#include <string_view>

#include "src/base/fd.h"

namespace snakepit {
namespace {

constexpr int64_t kCpuPeriodUs = 100'000;
constexpr double kFewestProcessors = 0.01;  // the kernel's smallest quota is 1 ms
constexpr double kMostProcessors = 8192;

tl::unexpected<Error> NotAvailable(const std::string& why) {
  return Fail(ErrorCode::kStartFailed, "cgroup v2 limits are not available here: " + why);
}

bool HasWord(const std::string& text, std::string_view wanted) {
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (word == wanted) return true;
  }
  return false;
}

// "/a\040b" of mountinfo, proc(5).
std::string Unescaped(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      result += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

struct Mount {
  std::string root;   // the cgroup at `point`
  std::string point;  //
  bool read_only = false;
};

std::vector<Mount> CgroupMounts(const std::string& mountinfo) {
  std::vector<Mount> mounts;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos || !line.substr(dash).starts_with(" - cgroup2 ")) continue;
    std::istringstream fields(line);
    std::string skipped;
    std::string options;
    Mount mount;
    fields >> skipped >> skipped >> skipped >> mount.root >> mount.point >> options;
    mount.root = Unescaped(mount.root);
    mount.point = Unescaped(mount.point);
    mount.read_only = options == "ro" || options.starts_with("ro,");
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

// "/a/b" is within "/a", "/a/b" and "/".
bool IsWithin(const std::string& path, const std::string& folder) {
  return folder == "/" || path == folder || path.starts_with(folder + "/");
}

// The folder of the cgroup that this process is in.
Result<std::string> OwnCgroup(const std::string& proc_self) {
  std::string path;
  std::istringstream lines(ReadFile(proc_self + "/cgroup").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::/")) path = line.substr(3);
  }
  const auto mounts = CgroupMounts(ReadFile(proc_self + "/mountinfo").value_or(""));
  if (mounts.empty() || path.empty()) {
    return NotAvailable("no cgroup file system of version 2 is mounted");
  }
  for (const Mount& mount : mounts) {
    if (!IsWithin(path, mount.root) || IsWithin(path, "/..")) continue;
    if (mount.read_only) return NotAvailable(mount.point + " is mounted read-only");
    const std::string rest = mount.root == "/" ? path : path.substr(mount.root.size());
    return mount.point + (rest == "/" ? "" : rest);
  }
  return NotAvailable("the cgroup of this process, " + path + ", is not among those mounted");
}

// systemd marks the cgroups that it delegates. Elsewhere delegation means that a user owns the
// folder.
bool IsDelegated(const std::string& folder) {
  for (const char* mark : {"user.delegate", "trusted.delegate"}) {
    char value = 0;
    if (getxattr(folder.c_str(), mark, &value, 1) == 1 && value == '1') return true;
  }
  return geteuid() != 0 && access(folder.c_str(), W_OK) == 0 &&
         access((folder + "/cgroup.procs").c_str(), W_OK) == 0;
}

// Returns 0 or the errno.
int WriteText(const std::string& path, std::string_view text) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return errno;
  return write(file.get(), text.data(), text.size()) < 0 ? errno : 0;
}

Result<void> Enable(const std::string& folder, const std::string& controller) {
  const std::string there = ReadFile(folder + "/cgroup.controllers").value_or("");
  if (!HasWord(there, controller)) {
    return NotAvailable("the controller \"" + controller + "\" is not in " + folder +
                        "/cgroup.controllers");
  }
  const std::string enabled = folder + "/cgroup.subtree_control";
  if (HasWord(ReadFile(enabled).value_or(""), controller)) return {};
  if (const int error = WriteText(enabled, "+" + controller); error != 0) {
    return NotAvailable("the controller \"" + controller + "\" cannot be enabled by " + enabled +
                        ": " + ErrnoMessage(error));
  }
  return {};
}

// Calls `visit` for each cgroup that a guardian made in the folder.
void VisitCgroups(const std::string& parent,
                  const std::function<void(const std::string& path, pid_t guardian)>& visit) {
  DIR* const entries = opendir(parent.c_str());
  if (entries == nullptr) return;
  while (const dirent* entry = readdir(entries)) {
    int guardian = 0;
    unsigned long id = 0;
    int length = 0;
    if (sscanf(entry->d_name, "snakepit-%d-%lu%n", &guardian, &id, &length) == 2 &&
        entry->d_name[length] == '\0') {
      visit(parent + "/" + entry->d_name, guardian);
    }
  }
  closedir(entries);
}

bool IsGuardian(pid_t pid) {
  return ReadFile("/proc/" + std::to_string(pid) + "/comm").value_or("").starts_with("snakepit-");
}

}  // namespace

Result<void> Validate(const CgroupLimits& limits) {
  const auto bad = [](std::string message) {
    return Fail(ErrorCode::kInvalidArgument, "adapter.cgroup." + std::move(message));
  };
  if (limits.memory_max_bytes && *limits.memory_max_bytes < 1) {
    return bad("memory_max_bytes must be over 0");
  }
  if (limits.processors && !(*limits.processors >= kFewestProcessors &&  // NaN is neither
                             *limits.processors <= kMostProcessors)) {
    return bad("processors must be 0.01 to 8192");
  }
  if (limits.pids_max && *limits.pids_max < 1) return bad("pids_max must be over 0");
  return {};
}

Result<std::optional<CgroupPlan>> PlanCgroup(const CgroupLimits& limits, const CgroupView& view) {
  CgroupPlan plan;
  std::vector<std::string> controllers;
  if (limits.memory_max_bytes) {
    controllers.push_back("memory");
    plan.settings.emplace_back("memory.max", std::to_string(*limits.memory_max_bytes));
  }
  if (limits.processors) {
    controllers.push_back("cpu");
    plan.settings.emplace_back(
        "cpu.max", std::to_string(std::llround(*limits.processors * kCpuPeriodUs)) + " " +
                       std::to_string(kCpuPeriodUs));
  }
  if (limits.pids_max) {
    controllers.push_back("pids");
    plan.settings.emplace_back("pids.max", std::to_string(*limits.pids_max));
  }
  if (controllers.empty()) return std::nullopt;

  auto own = OwnCgroup(view.proc_self);
  if (!own) return Fail(std::move(own.error()));
  // Only the root has no type.
  if (access((*own + "/cgroup.type").c_str(), F_OK) == 0) {
    plan.parent = own->substr(0, own->rfind('/'));
    if (!(view.is_delegated ? view.is_delegated : IsDelegated)(plan.parent)) {
      return NotAvailable("the cgroup over that of this process, " + plan.parent +
                          ", is not delegated to its user; with systemd, see Delegate= and "
                          "DelegateSubgroup= in systemd.resource-control(5)");
    }
  } else {
    plan.parent = *own;
    if (access(plan.parent.c_str(), W_OK) != 0) {
      return NotAvailable(plan.parent + " is not writable: " + ErrnoMessage(errno));
    }
  }
  for (const std::string& controller : controllers) {
    if (auto enabled = Enable(plan.parent, controller); !enabled) return Fail(enabled.error());
  }
  // A cgroup with a process in it cannot be removed, so this removes only leftovers.
  VisitCgroups(plan.parent, [](const std::string& path, pid_t guardian) {
    if (!IsGuardian(guardian)) rmdir(path.c_str());
  });
  return plan;
}

void ClearCgroups(const std::string& parent, pid_t guardian, const std::function<bool()>& is_held) {
  VisitCgroups(parent, [&](const std::string& path, pid_t whose) {
    if (whose != guardian) return;
    const UniqueFd kill_file(open((path + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
    // Checked after the file was opened: a true result means that the file is the guardian's.
    if (!is_held()) return;
    if (kill_file.valid()) (void)!write(kill_file.get(), "1", 1);
    rmdir(path.c_str());
  });
}

}  // namespace snakepit
