// `snakepit demo`: the work of a pool, shown and measured over stdio and over gRPC.
#ifndef SNAKEPIT_CLI_DEMO_H_
#define SNAKEPIT_CLI_DEMO_H_

#include "src/cli/arguments.h"
#include "src/cli/interrupts.h"
#include "src/cli/output.h"

namespace snakepit {

// Returns the exit code: 0 if everything held, 1 if a step did not, or that of the interrupt.
int RunDemo(const DemoArguments& arguments, Interrupts& interrupts, Output& output);

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_DEMO_H_
