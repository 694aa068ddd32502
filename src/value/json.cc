// The reading half of json.h.
#include "src/value/json.h"

#include <simdjson.h>

#include <optional>

#include "src/base/quote.h"
#include "src/value/json_scan.h"

namespace snakepit {
namespace {

// A thread's parser keeps its buffers for the next text, but not those of a huge one.
constexpr size_t kKeptParserBytes = 1 << 20;

class ThreadParser {
 public:
  simdjson::dom::parser& get() { return *parser_; }
  void Trim() {
    if (parser_->capacity() > kKeptParserBytes) parser_.emplace();
  }

 private:
  std::optional<simdjson::dom::parser> parser_{std::in_place};
};

ThreadParser& ParserOfThisThread() {
  thread_local ThreadParser parser;
  return parser;
}

// Turns simdjson's document into a Value.
class Converter {
 public:
  explicit Converter(int max_nesting) : max_nesting_(max_nesting) {}

  // false when the value is nested too deeply.
  bool Convert(simdjson::dom::element element, int depth, Value* out) const {
    using Type = simdjson::dom::element_type;
    switch (element.type()) {
      case Type::NULL_VALUE:
        return true;
      case Type::BOOL:
        *out = element.get_bool().value_unsafe();
        return true;
      case Type::INT64:
        *out = element.get_int64().value_unsafe();
        return true;
      case Type::UINT64:
        *out = element.get_uint64().value_unsafe();
        return true;
      case Type::DOUBLE:
        *out = element.get_double().value_unsafe();
        return true;
      case Type::STRING:
        *out = static_cast<std::string_view>(element.get_string().value_unsafe());
        return true;
      case Type::ARRAY:
        return ConvertArray(element.get_array().value_unsafe(), depth, out);
      case Type::OBJECT:
        return ConvertMap(element.get_object().value_unsafe(), depth, out);
    }
    return false;
  }

 private:
  bool ConvertArray(simdjson::dom::array elements, int depth, Value* out) const {
    if (depth >= max_nesting_) return false;
    Value::Array array;
    array.reserve(elements.size());
    for (const simdjson::dom::element element : elements) {
      if (!Convert(element, depth + 1, &array.emplace_back())) return false;
    }
    *out = std::move(array);
    return true;
  }

  bool ConvertMap(simdjson::dom::object members, int depth, Value* out) const {
    if (depth >= max_nesting_) return false;
    Value::Map map;
    for (const auto& [key, element] : members) {
      Value value;
      if (!Convert(element, depth + 1, &value)) return false;
      // Most peers write their members in order; the hint saves the search then.
      map.insert_or_assign(map.end(), std::string(key), std::move(value));
    }
    *out = std::move(map);
    return true;
  }

  const int max_nesting_;
};

}  // namespace

bool TryDecodeJson(std::string_view json, Value* value, int max_nesting) {
  ThreadParser& parser = ParserOfThisThread();
  simdjson::dom::element root;
  // Copied by simdjson into a padded buffer of its own: a frame has no padding to read over.
  const bool parsed = parser.get().parse(json.data(), json.size()).get(root) == simdjson::SUCCESS;
  const bool converted = parsed && Converter(max_nesting).Convert(root, 0, value);
  parser.Trim();
  return converted;
}

Result<Value> DecodeJson(std::string_view json, int max_nesting) {
  Value value;
  if (TryDecodeJson(json, &value, max_nesting)) return value;
  const std::optional<JsonFault> fault = FindJsonFault(json, max_nesting);
  const std::string what = fault ? fault->what + " at byte " + std::to_string(fault->offset)
                                 : "the parser refuses it";  // as when memory runs out
  return Fail(ErrorCode::kInvalidArgument, "invalid JSON: " + what + ", in " + QuoteBytes(json));
}

}  // namespace snakepit
