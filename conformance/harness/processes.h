// What /proc says of the processes of a case.
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

// Every process that there is.
std::vector<Process> ListProcesses();

// Those of the process group, zombies left out.
std::vector<Process> ListGroup(pid_t group);

// Whether the process was started with this variable, `NAME=value`, as its descendants are.
bool HasVariable(pid_t pid, std::string_view variable);

// "77 (python3)".
std::string Describe(const Process& process);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_PROCESSES_H_
