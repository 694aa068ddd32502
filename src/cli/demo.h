// `snakepit demo`: what a pool does, shown and measured over stdio and over gRPC.
#ifndef SNAKEPIT_SRC_CLI_DEMO_H_
#define SNAKEPIT_SRC_CLI_DEMO_H_

#include "src/cli/arguments.h"
#include "src/cli/interrupts.h"
#include "src/cli/output.h"

namespace snakepit {

// The exit code: 0 when everything held, 1 when a step did not, or that of the interrupt.
int RunDemo(const DemoArguments& arguments, Interrupts& interrupts, Output& output);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_DEMO_H_
