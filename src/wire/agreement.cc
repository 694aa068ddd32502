#include "src/wire/agreement.h"

#include <algorithm>

namespace snakepit {

bool ListsFeature(const Value& message, std::string_view feature) {
  const Value* features = message.Find("features");
  if (features == nullptr) return false;
  const auto names = features->elements();
  return std::find(names.begin(), names.end(), Value(feature)) != names.end();
}

}  // namespace snakepit
