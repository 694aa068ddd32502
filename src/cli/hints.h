// What would help after an error.
#ifndef SNAKEPIT_SRC_CLI_HINTS_H_
#define SNAKEPIT_SRC_CLI_HINTS_H_

#include <optional>
#include <string>
#include <vector>

#include "snakepit/error.h"
#include "src/cli/arguments.h"

namespace snakepit {

// One line that says what to try, by the code of the error and by how the call was made; empty when
// the error's own message says it all.
std::string HintFor(const Error& error, const CallArguments& call);

// The same after a start alone, where the worker speaks another codec than is offered by these
// options of stdio; empty for any other error.
std::string CodecHint(const Error& error, std::optional<Codec> codec, bool handshake);

// The command line of a worker, quoted so that a shell takes it as it is.
std::string ShellCommand(const std::vector<std::string>& argv);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_HINTS_H_
