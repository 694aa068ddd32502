#include "src/cli/worker_variables.h"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <utility>

namespace snakepit {
namespace {

constexpr size_t kLineWidth = 96;

Result<void> CheckName(const std::string& flag, const std::string& name) {
  if (name.empty() || name.find('*') < name.size() - 1) {
    return Fail(ErrorCode::kInvalidArgument,
                "--env: it is NAME, NAME* or NAME=VALUE, not '" + flag + "'");
  }
  if (std::find(std::begin(kPoolVariables), std::end(kPoolVariables), name) !=
      std::end(kPoolVariables)) {
    return Fail(ErrorCode::kInvalidArgument, "--env: " + name + " is the pool's to set");
  }
  return {};
}

}  // namespace

void WorkerVariables::AddTo(Adapter& adapter) const {
  for (const auto& [name, value] : environment) adapter.environment[name] = value;
  adapter.inherit.insert(adapter.inherit.end(), inherit.begin(), inherit.end());
}

Result<WorkerVariables> ParseWorkerVariables(const std::vector<std::string>& flags) {
  WorkerVariables variables;
  for (const std::string& flag : flags) {
    const size_t equals = flag.find('=');
    std::string name = flag.substr(0, equals);
    if (auto valid = CheckName(flag, name); !valid) return Fail(std::move(valid.error()));
    if (equals == std::string::npos) {
      variables.inherit.push_back(std::move(name));
    } else if (name.ends_with('*')) {
      return Fail(ErrorCode::kInvalidArgument, "--env: " + name + " can have no value");
    } else {
      variables.environment[std::move(name)] = flag.substr(equals + 1);
    }
  }
  return variables;
}

std::vector<std::string> ToFlags(const WorkerVariables& variables) {
  std::vector<std::string> flags = variables.inherit;
  for (const auto& [name, value] : variables.environment) flags.push_back(name + "=" + value);
  return flags;
}

std::string InheritedVariablesText(const std::string& begin, const std::string& end) {
  std::string whole = begin + " ";
  const size_t last = std::size(kInheritedVariables) - 1;
  for (size_t i = 0; i <= last; ++i) {
    whole += std::string(kInheritedVariables[i]) + (i < last ? ", " : " ");
  }
  std::istringstream words(whole + end);
  std::string text;
  std::string line;
  for (std::string word; words >> word;) {
    if (line.size() + 1 + word.size() > kLineWidth) {
      text += line + "\n";
      line.assign(1, ' ');
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  return text + line;
}

}  // namespace snakepit
