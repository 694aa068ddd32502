// The id of a JSON message that cannot be decoded. PROTOCOL.md 2.6.7. Usable from any thread.
#ifndef SNAKEPIT_WIRE_WORKER_SIDE_JSON_ID_H_
#define SNAKEPIT_WIRE_WORKER_SIDE_JSON_ID_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace snakepit {

// The members `id` and `type` of a map whose other members are no JSON or no value (1e400, NaN,
// half a character, arrays without end). The search looks at brackets, quotes and commas alone.
// Both are absent if not even those make a map.
struct JsonIdAndType {
  std::optional<int64_t> id;             // an integer of 64 bits
  std::optional<std::string_view> type;  // the written text, without the quotes of a text
};
JsonIdAndType FindJsonIdAndType(std::string_view json);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_WORKER_SIDE_JSON_ID_H_
