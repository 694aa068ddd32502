// Where a JSON text goes wrong. Decoding uses simdjson, which is fast but does not tell; this slow
// scanner does, and is the second opinion that the tests compare simdjson with.
#ifndef SNAKEPIT_SRC_VALUE_JSON_SCAN_H_
#define SNAKEPIT_SRC_VALUE_JSON_SCAN_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace snakepit {

struct JsonFault {
  size_t offset = 0;  // of the first byte that cannot be right
  std::string what;   // "NaN is not a JSON value"
};

// The first fault of the text by the rules of DecodeJson, or nothing when there is none.
std::optional<JsonFault> FindJsonFault(std::string_view json, int max_nesting);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_VALUE_JSON_SCAN_H_
