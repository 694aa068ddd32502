// The end of a program whose core has reached an impossible state.
#ifndef SNAKEPIT_CORE_FAULT_H_
#define SNAKEPIT_CORE_FAULT_H_

#include <string>

namespace snakepit {

// Prints `what`, and ends the program. A program may be linked with a definition of its own: the
// simulator's throws, so that the trace that led there can be found.
[[noreturn]] void Fault(const std::string& what);

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_FAULT_H_
