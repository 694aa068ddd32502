// Hints after an error.
#ifndef SNAKEPIT_CLI_HINTS_H_
#define SNAKEPIT_CLI_HINTS_H_

#include <optional>
#include <string>
#include <vector>

#include "snakepit/error.h"
#include "src/cli/arguments.h"

namespace snakepit {

// One line that says what to try, given the error and the way the call was made. Empty if the
// error's own message is enough.
std::string HintFor(const Error& error, const CallArguments& call);

// The same after a start on stdio whose worker speaks a codec other than the offered ones. Empty
// for any other error.
std::string CodecHint(const Error& error, std::optional<Codec> codec, bool handshake);

// The command line of a worker, quoted for a shell.
std::string ShellCommand(const std::vector<std::string>& argv);

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_HINTS_H_
