#include "src/transport/launch_spec.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "src/base/fd.h"

extern char** environ;

namespace snakepit {
namespace {

struct Variable {
  std::string_view name;
  std::string_view value;
};

std::vector<Variable> OwnVariables() {
  std::vector<Variable> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    variables.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  return variables;
}

bool IsPools(std::string_view name) {
  return std::find(std::begin(kPoolVariables), std::end(kPoolVariables), name) !=
         std::end(kPoolVariables);
}

bool IsInherited(std::string_view name, const Adapter& adapter) {
  const auto matches = [name](std::string_view pattern) {
    if (!pattern.ends_with('*')) return name == pattern;
    return name.starts_with(pattern.substr(0, pattern.size() - 1));
  };
  return !IsPools(name) &&
         (std::any_of(std::begin(kInheritedVariables), std::end(kInheritedVariables), matches) ||
          std::any_of(adapter.inherit.begin(), adapter.inherit.end(), matches));
}

// `count` random bytes in hexadecimal, of at most 256.
template <size_t count>
Result<std::string> RandomDigits(std::string_view failure) {
  unsigned char bytes[count];
  // So few bytes come whole, or not at all. getrandom(2).
  ssize_t got = -1;
  do {
    got = getrandom(bytes, sizeof bytes, 0);
  } while (got < 0 && errno == EINTR);
  if (got != sizeof bytes) return Fail(ErrnoError(failure, errno));
  std::string digits;
  for (const unsigned char byte : bytes) {
    digits += "0123456789abcdef"[byte >> 4];
    digits += "0123456789abcdef"[byte & 15];
  }
  return digits;
}

}  // namespace

std::vector<std::string> WorkerEnvironment(const Adapter& adapter,
                                           std::map<std::string, std::string> own,
                                           const std::map<std::string, std::string>& fixed) {
  std::map<std::string, std::string> all = std::move(own);
  for (const Variable& variable : OwnVariables()) {
    if (IsInherited(variable.name, adapter)) all.emplace(variable.name, variable.value);
  }
  for (const auto& [name, value] : adapter.environment) all[name] = value;
  for (const auto& [name, value] : fixed) all[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : all) lines.push_back(name + "=" + value);
  return lines;
}

std::vector<std::string> NotInherited(const Adapter& adapter) {
  std::set<std::string> names;
  for (const Variable& variable : OwnVariables()) {
    const std::string name(variable.name);
    if (!IsPools(name) && !IsInherited(name, adapter) && !adapter.environment.contains(name)) {
      names.insert(name);
    }
  }
  return {names.begin(), names.end()};
}

std::string WorkerIdText(int worker_id) { return "worker_" + std::to_string(worker_id); }

Result<std::string> NewToken() { return RandomDigits<32>("cannot make a token for a worker"); }

Result<std::string> NewInstance() {
  auto digits = RandomDigits<12>("cannot make a name for a worker");
  if (digits) digits->insert(0, "snakepit-");
  return digits;
}

std::vector<std::string> FillIn(std::vector<std::string> arguments,
                                const Placeholders& placeholders) {
  for (std::string& text : arguments) {
    for (const auto& [placeholder, value] : placeholders) {
      for (size_t at = text.find(placeholder); at != std::string::npos;
           at = text.find(placeholder, at + value.size())) {
        text.replace(at, placeholder.size(), value);
      }
    }
  }
  return arguments;
}

}  // namespace snakepit
