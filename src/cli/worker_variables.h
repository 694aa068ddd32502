// The flag --env of commands that start workers: the variables of a worker.
#ifndef SNAKEPIT_CLI_WORKER_VARIABLES_H_
#define SNAKEPIT_CLI_WORKER_VARIABLES_H_

#include <map>
#include <string>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/error.h"

namespace snakepit {

// The fields of Adapter with these names.
struct WorkerVariables {
  std::map<std::string, std::string> environment;
  std::vector<std::string> inherit;

  // Adds them to the adapter; they replace its own.
  void AddTo(Adapter& adapter) const;
};

// Reads the values of --env. NAME passes a variable of this process on, NAME* all that begin so,
// and NAME=VALUE sets one. INVALID_ARGUMENT for anything else, and for a variable that the pool
// sets.
Result<WorkerVariables> ParseWorkerVariables(const std::vector<std::string>& flags);

// The values of --env that give these variables.
std::vector<std::string> ToFlags(const WorkerVariables& variables);

// A paragraph for a command's help: `begin`, kInheritedVariables, `end`. Lines are broken at
// blanks, at 96 characters at the latest; all but the first are indented; the last has no line
// break.
std::string InheritedVariablesText(const std::string& begin, const std::string& end);

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_WORKER_VARIABLES_H_
