// The processes of a case, from /proc.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_PROCESSES_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_PROCESSES_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace snakepit::conformance {

struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  char state = '?';  // proc(5): 'T' is stopped, 'Z' a zombie
  std::string name;
};

// All processes of the machine.
std::vector<Process> ListProcesses();

// The processes of the group, without zombies.
std::vector<Process> ListGroup(pid_t group);

// True if the process was started with this variable, `NAME=value`. Its descendants inherit it.
bool HasVariable(pid_t pid, std::string_view variable);

// "77 (python3)".
std::string Describe(const Process& process);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_PROCESSES_H_
