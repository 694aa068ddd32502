#include "src/transport/launch_spec.h"

#include <algorithm>

extern char** environ;

namespace snakepit {
namespace {

bool IsInherited(std::string_view name) {
  return std::any_of(std::begin(kInheritedVariables), std::end(kInheritedVariables),
                     [name](std::string_view pattern) {
                       if (!pattern.ends_with('*')) return name == pattern;
                       return name.starts_with(pattern.substr(0, pattern.size() - 1));
                     });
}

}  // namespace

std::vector<std::string> WorkerEnvironment(const Adapter& adapter,
                                           std::map<std::string, std::string> own) {
  std::map<std::string, std::string> all = std::move(own);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos || !IsInherited(text.substr(0, equals))) continue;
    all.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  for (const auto& [name, value] : adapter.environment) all[name] = value;
  std::vector<std::string> lines;
  for (const auto& [name, value] : all) lines.push_back(name + "=" + value);
  return lines;
}

std::string FillIn(std::string text, std::string_view placeholder, std::string_view value) {
  for (size_t at = text.find(placeholder); at != std::string::npos;
       at = text.find(placeholder, at + value.size())) {
    text.replace(at, placeholder.size(), value);
  }
  return text;
}

}  // namespace snakepit
