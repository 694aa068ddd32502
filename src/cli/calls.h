// `snakepit exec` and `snakepit stream`: a pool, the calls, and what became of them.
#ifndef SNAKEPIT_SRC_CLI_CALLS_H_
#define SNAKEPIT_SRC_CLI_CALLS_H_

#include "src/cli/arguments.h"
#include "src/cli/interrupts.h"
#include "src/cli/output.h"

namespace snakepit {

// Runs the calls to their end. The exit code: 0, 1 when a call or the start failed, or that of the
// interrupt. No process of the pool is left.
int RunCalls(const CallArguments& arguments, Interrupts& interrupts, Output& output);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_CALLS_H_
