// The flag --env of the commands that start workers: which variables a worker has.
#ifndef SNAKEPIT_SRC_CLI_WORKER_VARIABLES_H_
#define SNAKEPIT_SRC_CLI_WORKER_VARIABLES_H_

#include <map>
#include <string>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/error.h"

namespace snakepit {

// As the fields of Adapter of these names.
struct WorkerVariables {
  std::map<std::string, std::string> environment;
  std::vector<std::string> inherit;

  // Adds them to those of the adapter, over which they go.
  void AddTo(Adapter& adapter) const;
};

// Of the values of --env: each is NAME, passed on with the value that it has here, NAME*, all whose
// names begin so, or NAME=VALUE. INVALID_ARGUMENT for anything else, and for what the pool sets.
Result<WorkerVariables> ParseWorkerVariables(const std::vector<std::string>& flags);

// The values of --env that give these.
std::vector<std::string> ToFlags(const WorkerVariables& variables);

// A paragraph for a command's help, without a line break at its end: `begin`, kInheritedVariables,
// `end`. The lines are broken at blanks, at 96 characters or before; all but the first are
// indented.
std::string InheritedVariablesText(const std::string& begin, const std::string& end);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_CLI_WORKER_VARIABLES_H_
