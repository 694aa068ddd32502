// The command line of `snakepit`, parsed.
#ifndef SNAKEPIT_CLI_ARGUMENTS_H_
#define SNAKEPIT_CLI_ARGUMENTS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/value.h"
#include "src/adapters/transport_kind.h"
#include "src/cli/worker_variables.h"

namespace snakepit {

// `snakepit exec` and `snakepit stream`.
struct CallArguments {
  bool stream = false;
  std::string command;
  Value args;  // a map, or null for none
  TransportKind transport = TransportKind::kStdio;
  std::optional<Codec> codec;  // the only one offered; absent: both
  bool handshake = true;       // false: `codec` from the first frame on
  int workers = 1;
  std::string session;                               // empty: none
  std::optional<std::chrono::milliseconds> timeout;  // absent: the pool's default
  std::chrono::milliseconds start_timeout{0};
  int64_t repeat = 1;
  int parallel = 1;
  bool verbose = false;
  bool raw = false;  // no escaping of results and of workers' lines
  WorkerVariables variables;
  std::vector<std::string> worker;  // empty: the bundled one
};

// `snakepit demo`.
struct DemoArguments {
  int workers = 3;
};

// --help and --version (exit code 0), or a usage error (2).
struct PrintAndExit {
  std::string text;  // whole lines; to stdout when the exit code is 0, else to stderr
  int exit_code = 0;
};

using ParsedArguments = std::variant<CallArguments, DemoArguments, PrintAndExit>;

inline constexpr int kUsageExitCode = 2;

// `arguments`: those of main without the program's name. Reads the file of --config, if any.
ParsedArguments ParseArguments(const std::vector<std::string>& arguments);

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_ARGUMENTS_H_
