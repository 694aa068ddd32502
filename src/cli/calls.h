// `snakepit exec` and `snakepit stream`: a pool, the calls, and their outcomes.
#ifndef SNAKEPIT_CLI_CALLS_H_
#define SNAKEPIT_CLI_CALLS_H_

#include "src/cli/arguments.h"
#include "src/cli/interrupts.h"
#include "src/cli/output.h"

namespace snakepit {

// Runs the calls to their end, and leaves no process of the pool. Returns the exit code: 0, 1 if a
// call or the start failed, or that of the interrupt.
int RunCalls(const CallArguments& arguments, Interrupts& interrupts, Output& output);

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_CALLS_H_
