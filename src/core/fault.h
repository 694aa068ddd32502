// What the core does when it is in a state that it cannot be in.
#ifndef SNAKEPIT_CORE_FAULT_H_
#define SNAKEPIT_CORE_FAULT_H_

#include <string>

namespace snakepit {

// Says what, and ends the program. A program that is linked with another definition has that one:
// the simulator's throws, for the trace that led there to be found.
[[noreturn]] void Fault(const std::string& what);

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_FAULT_H_
