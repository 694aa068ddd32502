// Finds the fault in a JSON text. Decoding uses simdjson, which is fast but does not say where a
// text goes wrong. The tests also compare simdjson with this slow scanner.
#ifndef SNAKEPIT_VALUE_JSON_SCAN_H_
#define SNAKEPIT_VALUE_JSON_SCAN_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace snakepit {

struct JsonFault {
  size_t offset = 0;  // the first byte that cannot be right
  std::string what;   // "NaN is not a JSON value"
};

// The first fault of the text by the rules of DecodeJson, or nothing when there is none.
std::optional<JsonFault> FindJsonFault(std::string_view json, int max_nesting);

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_JSON_SCAN_H_
