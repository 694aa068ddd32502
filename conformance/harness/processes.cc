#include "conformance/harness/processes.h"

#include <utility>

#include "src/base/proc.h"

namespace snakepit::conformance {

std::vector<Process> ListProcesses() {
  std::vector<Process> processes;
  for (const pid_t pid : snakepit::ListProcesses()) {
    auto stat = ReadProcStat(pid);
    if (!stat) continue;  // it has just ended
    processes.push_back({.pid = pid,
                         .parent = stat->parent,
                         .group = stat->group,
                         .state = stat->state,
                         .name = std::move(stat->name)});
  }
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
  return HasEnvironmentVariable(pid, std::string(variable));
}

std::string Describe(const Process& process) {
  return std::to_string(process.pid) + " (" + process.name +
         (process.state == 'Z' ? ", a zombie)" : ")");
}

}  // namespace snakepit::conformance
