#include "src/process/start_error.h"

#include <errno.h>

#include <string>
#include <utility>
#include <vector>

#include "src/base/fd.h"
#include "src/base/quote.h"
#include "src/base/threads.h"
#include "src/process/process_settings.h"

namespace snakepit {
namespace {

namespace protocol = guardian_protocol;

// A remedy for the error of execve(2).
std::string ExecuteAdvice(const std::string& program, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return program.find('/') == std::string::npos
                 ? "; is it installed, and in a folder on the worker's PATH?"
                 : "; is the path right?";
    case EACCES:
      return "; make it executable (chmod +x), and its folders accessible";
    case EISDIR:
      return "; it is a folder, not a program";
    case ENOEXEC:
      return "; it is not a program that this machine can run: a script needs a first line such as "
             "#!/usr/bin/env python3";
    case E2BIG:
      return "; one argument or variable may have 128 KiB, all together a quarter of the stack's "
             "limit (ulimit -s)";
    default:
      return "";
  }
}

std::string Numbers(const std::vector<int>& numbers) {
  std::string text;
  for (const int number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
  return text;
}

std::string LimitValue(uint64_t value) {
  return value == kUnlimited ? "unlimited" : std::to_string(value);
}

// " with the limit nofile of 1024, hard 4096".
std::string LimitText(const ProcessSettings& settings, int number) {
  for (const auto& [resource, limit] : settings.limits) {
    if (ResourceNumber(resource) != number) continue;
    return " with the limit " + std::string(ResourceName(resource)) + " of " +
           LimitValue(limit.soft) + ", hard " + LimitValue(limit.hard);
  }
  return "";
}

// " with pids.max of 10 for a cgroup in /sys/fs/cgroup/a", or just " with a cgroup in …".
std::string CgroupText(const std::optional<CgroupPlan>& plan, int which) {
  if (!plan) return "";
  if (which < 0 || which >= static_cast<int>(plan->settings.size())) {
    return " with a cgroup in " + plan->parent;
  }
  return " with " + plan->settings[which].first + " of " + plan->settings[which].second +
         " for a cgroup in " + plan->parent;
}

}  // namespace

Error StartError(const Starting& starting, const protocol::Event& event) {
  const int error = event.error;
  std::string message = "cannot start " + Quoted(starting.program);
  switch (event.step) {
    case protocol::kStepWorkingDirectory:
      message += " in the working directory " +
                 (starting.working_directory.empty() ? std::string("of this process")
                                                     : Quoted(starting.working_directory)) +
                 ": " + ErrnoMessage(error) + "; it must be a folder that may be entered";
      break;
    case protocol::kStepInterpreter:
      message +=
          ": " + ErrnoMessage(error) +
          "; the file exists, but its interpreter does not: see its first line (#!), which must "
          "not end in a carriage return";
      break;
    case protocol::kStepExecute:
      message += ": " + ErrnoMessage(error) + ExecuteAdvice(starting.program, error);
      break;
    case protocol::kStepNice:
      message += " with nice " + std::to_string(starting.process.nice.value_or(0)) + ": " +
                 ErrnoMessage(error) +
                 "; a value below this process's own needs the capability CAP_SYS_NICE";
      break;
    case protocol::kStepCpus:
      message += " on the processors " + Numbers(starting.process.cpus) + ": " +
                 ErrnoMessage(error) +
                 "; each must exist and be allowed for this process (taskset -p)";
      break;
    case protocol::kStepLimit:
      message += LimitText(starting.process, event.which) + ": " + ErrnoMessage(error) +
                 "; a hard limit above this process's own (ulimit -aH) needs the capability "
                 "CAP_SYS_RESOURCE";
      break;
    case protocol::kStepCgroup:
      message += CgroupText(starting.cgroup, event.which) + ": " + ErrnoMessage(error) +
                 "; the folder must be delegated to the user of this process";
      break;
    default:
      message += ": " + ErrnoMessage(error);
      // The guardian has the limits of this process.
      message += error == EAGAIN
                     ? ProcessLimitAdvice(error)
                     : "; the system has no memory or descriptor left to give (ulimit -a)";
  }
  Error result;
  result.code = ErrorCode::kStartFailed;
  result.message = std::move(message);
  return result;
}

}  // namespace snakepit
