#include "conformance/harness/processes.h"

#include <dirent.h>

#include <cstdio>
#include <cstdlib>

#include "src/base/fd.h"

namespace snakepit::conformance {
namespace {

// False when it has just ended.
bool ReadProcess(pid_t pid, Process* process) {
  const std::string stat = ReadFile("/proc/" + std::to_string(pid) + "/stat").value_or("");
  // The name, in parentheses, may contain anything.
  const size_t open = stat.find('(');
  const size_t close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return false;
  process->pid = pid;
  process->name = stat.substr(open + 1, close - open - 1);
  return std::sscanf(stat.c_str() + close, ") %c %d %d", &process->state, &process->parent,
                     &process->group) == 3;
}

}  // namespace

std::vector<Process> ListProcesses() {
  std::vector<Process> processes;
  DIR* const folder = opendir("/proc");
  if (folder == nullptr) return processes;
  while (const dirent* entry = readdir(folder)) {
    Process process;
    const pid_t pid = std::atoi(entry->d_name);
    if (pid > 0 && ReadProcess(pid, &process)) processes.push_back(std::move(process));
  }
  closedir(folder);
  return processes;
}

std::vector<Process> ListGroup(pid_t group) {
  std::vector<Process> members;
  for (Process& process : ListProcesses()) {
    if (process.group == group && process.state != 'Z') members.push_back(std::move(process));
  }
  return members;
}

bool HasVariable(pid_t pid, std::string_view variable) {
  const std::string environment =
      '\0' + ReadFile("/proc/" + std::to_string(pid) + "/environ").value_or("");
  return environment.find('\0' + std::string(variable) + '\0') != std::string::npos;
}

std::string Describe(const Process& process) {
  return std::to_string(process.pid) + " (" + process.name +
         (process.state == 'Z' ? ", a zombie)" : ")");
}

}  // namespace snakepit::conformance
