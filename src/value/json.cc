// The reading half of json.h.
#include "src/value/json.h"

#include <simdjson.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <new>
#include <optional>
#include <utility>

#include "src/base/quote.h"
#include "src/value/base64.h"
#include "src/value/json_scan.h"
#include "src/value/memory.h"
#include "src/value/path.h"

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

// The document of a text, valid until this thread parses the next. false when it is not JSON.
class ParsedJson {
 public:
  explicit ParsedJson(std::string_view json) {
    // Copied by simdjson into a padded buffer of its own: a frame has no padding to read over.
    const simdjson::error_code error = parser_.get().parse(json.data(), json.size()).get(root_);
    if (error == simdjson::MEMALLOC) throw std::bad_alloc();
    ok_ = error == simdjson::SUCCESS;
  }
  ~ParsedJson() { parser_.Trim(); }
  ParsedJson(const ParsedJson&) = delete;
  ParsedJson& operator=(const ParsedJson&) = delete;

  bool ok() const { return ok_; }
  simdjson::dom::element root() const { return root_; }

 private:
  ThreadParser& parser_ = ParserOfThisThread();
  simdjson::dom::element root_;
  bool ok_ = false;
};

// simdjson's own count goes no further than this.
constexpr size_t kGreatestCount = 0xffffff;

size_t LengthOf(simdjson::dom::array elements) {
  const size_t count = elements.size();
  if (count < kGreatestCount) return count;
  return static_cast<size_t>(std::distance(elements.begin(), elements.end()));
}

// The one member of a map: the last of several with the same name. Nothing for other maps.
std::optional<simdjson::dom::key_value_pair> OnlyMember(simdjson::dom::object members) {
  std::optional<simdjson::dom::key_value_pair> only;
  for (const simdjson::dom::key_value_pair member : members) {
    if (only && only->key != member.key) return std::nullopt;
    only.emplace(member);
  }
  return only;
}

// The NaN or infinity of those 16 lower-case hexadecimal digits.
std::optional<double> DecodeDoubleTag(std::string_view digits) {
  if (digits.size() != 16) return std::nullopt;
  uint64_t bits = 0;
  for (const char digit : digits) {
    const bool decimal = digit >= '0' && digit <= '9';
    if (!decimal && (digit < 'a' || digit > 'f')) return std::nullopt;
    bits = bits << 4 | static_cast<uint64_t>(decimal ? digit - '0' : digit - 'a' + 10);
  }
  const auto number = std::bit_cast<double>(bits);
  if (std::isfinite(number)) return std::nullopt;
  return number;
}

// Turns simdjson's document into a Value.
class Converter {
 public:
  Converter(int max_nesting, JsonDialect dialect, DecodeBudget* budget)
      : max_nesting_(max_nesting), lossless_(dialect == JsonDialect::kLossless), budget_(*budget) {}

  // The whole of a value.
  bool Convert(simdjson::dom::element element, Value* out) {
    return budget_.Take(sizeof *out) && Convert(element, 0, out);
  }

  std::string problem;
  FailurePath path;

 private:
  // false: `problem` says what, and `path` where, unless it is the budget's error.
  bool Convert(simdjson::dom::element element, int depth, Value* out) {
    using Type = simdjson::dom::element_type;
    switch (element.type()) {
      case Type::NULL_VALUE:
        *out = nullptr;
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
        return ConvertText(element.get_string().value_unsafe(), out);
      case Type::ARRAY:
        return ConvertArray(element.get_array().value_unsafe(), depth, out);
      case Type::OBJECT:
        return ConvertMap(element.get_object().value_unsafe(), depth, out);
    }
    return Problem("is of no known type");
  }

  bool Problem(std::string what) {
    problem = std::move(what);
    return false;
  }

  bool CheckNesting(int depth) {
    return depth < max_nesting_ || Problem("is nested deeper than " + std::to_string(max_nesting_));
  }

  bool ConvertText(std::string_view text, Value* out) {
    if (!budget_.Take(sizeof(std::string) + TextHeapBytes(text.size()))) return false;
    *out = text;
    return true;
  }

  bool ConvertArray(simdjson::dom::array elements, int depth, Value* out) {
    if (!CheckNesting(depth)) return false;
    const size_t length = LengthOf(elements);
    if (!budget_.Take(sizeof(Value::Array)) || !budget_.Allows(length * sizeof(Value)))
      return false;
    Value::Array array;
    array.reserve(length);
    for (const simdjson::dom::element element : elements) {
      if (!budget_.Take(sizeof(Value))) return false;
      if (!Convert(element, depth + 1, &array.emplace_back())) {
        path.AddIndex(array.size() - 1);
        return false;
      }
    }
    *out = std::move(array);
    return true;
  }

  bool ConvertMap(simdjson::dom::object members, int depth, Value* out) {
    if (lossless_) {
      const auto only = OnlyMember(members);
      if (only && only->key.starts_with('$')) return ConvertTag(*only, depth, out);
    }
    if (!CheckNesting(depth) || !budget_.Take(sizeof(Value::Map))) return false;
    Value::Map map;
    for (const auto& [key, element] : members) {
      if (!ConvertMember(key, element, depth, &map)) return false;
    }
    *out = std::move(map);
    return true;
  }

  bool ConvertMember(std::string_view key, simdjson::dom::element element, int depth,
                     Value::Map* map) {
    if (!budget_.Take(kMapNodeBytes + TextHeapBytes(key.size()))) return false;
    // Most peers write their members in order; the hint saves the search then.
    const auto it = map->try_emplace(map->end(), std::string(key));
    if (Convert(element, depth + 1, &it->second)) return true;
    path.AddKey(it->first);
    return false;
  }

  // A map of one member whose key begins with '$'.
  bool ConvertTag(simdjson::dom::key_value_pair member, int depth, Value* out) {
    if (member.key.starts_with("$$")) {
      if (!CheckNesting(depth) || !budget_.Take(sizeof(Value::Map))) return false;
      Value::Map map;
      if (!ConvertMember(member.key.substr(1), member.value, depth, &map)) {
        return false;
      }
      *out = std::move(map);
      return true;
    }
    std::string_view text;
    const bool is_text = member.value.get(text) == simdjson::SUCCESS;
    if (member.key == "$bytes") {
      // Base64 is longer than what it stands for.
      if (!budget_.Take(sizeof(Bytes) + TextHeapBytes(text.size()))) return false;
      auto bytes = is_text ? DecodeBase64(text) : std::nullopt;
      if (!bytes) return Problem("is a $bytes without a base64 text");
      *out = Bytes{*std::move(bytes)};
      return true;
    }
    if (member.key == "$double") {
      const auto number = is_text ? DecodeDoubleTag(text) : std::nullopt;
      if (!number) return Problem("is a $double without the 16 hex digits of a NaN or infinity");
      *out = *number;
      return true;
    }
    return Problem("has the one member " + QuoteBytes(member.key) + ", which is no tag");
  }

  const int max_nesting_;
  const bool lossless_;
  DecodeBudget& budget_;
};

bool IsListOrMap(simdjson::dom::element element) {
  return element.is_array() || element.is_object();
}

tl::unexpected<Error> InvalidJson(std::string_view what, std::string_view json) {
  return Fail(ErrorCode::kInvalidArgument,
              "invalid JSON: " + std::string(what) + ", in " + QuoteBytes(json));
}

// For a text that simdjson refuses.
tl::unexpected<Error> NoJson(std::string_view json, int max_nesting) {
  // A tag is a map more.
  const std::optional<JsonFault> fault = FindJsonFault(json, max_nesting + 1);
  return InvalidJson(fault ? fault->what + " at byte " + std::to_string(fault->offset)
                           : "the parser refuses it",  // when memory runs out
                     json);
}

}  // namespace

bool TryDecodeJson(std::string_view json, Value* value, DecodeBudget* budget, int max_nesting) {
  const ParsedJson parsed(json);
  return parsed.ok() &&
         Converter(max_nesting, JsonDialect::kPlain, budget).Convert(parsed.root(), value);
}

Result<Value> DecodeJson(std::string_view json, int max_nesting, JsonDialect dialect,
                         const DecodeLimits& limits) {
  return OrOutOfMemory(json.size(), [&]() -> Result<Value> {
    const ParsedJson parsed(json);
    if (!parsed.ok()) return NoJson(json, max_nesting);
    Value value;
    DecodeBudget budget(limits);
    Converter converter(max_nesting, dialect, &budget);
    if (converter.Convert(parsed.root(), &value)) return value;
    if (budget.error()) return Fail(Error(*budget.error()));
    return InvalidJson(converter.path.ToString("value") + " " + converter.problem, json);
  });
}

Result<void> DecodeJsonMembers(std::string_view json, JsonDialect dialect,
                               std::span<Member> members, const DecodeLimits& limits,
                               Values values) {
  return OrOutOfMemory(json.size(), [&]() -> Result<void> {
    const ParsedJson parsed(json);
    // The message is a map more.
    if (!parsed.ok()) return NoJson(json, kMaxNesting + 1);
    simdjson::dom::object message;
    if (parsed.root().get(message) != simdjson::SUCCESS) return InvalidJson("it is no map", json);
    DecodeBudget budget(limits);
    std::optional<Error> first_error;
    for (const auto& [key, element] : message) {
      Member* member = FindMember(members, key);
      if (member == nullptr) continue;
      Value& value = member->value.emplace();
      const bool is_value = member->kind == Member::Kind::kValue;
      if (values == Values::kPassedOver && (is_value || IsListOrMap(element))) {
        if (!is_value) value = Value::Array();
        continue;
      }
      if (member->kind == Member::Kind::kText && element.is_string()) {
        value = CutText(element.get_string().value_unsafe(), kMostErrorTextBytes);
        continue;
      }
      Converter converter(kMaxNesting, is_value ? dialect : JsonDialect::kPlain, &budget);
      if (converter.Convert(element, &value)) continue;
      member->value.reset();
      if (budget.error()) return Fail(Error(*budget.error()));
      if (first_error) continue;
      first_error =
          InvalidJson(converter.path.ToString(key) + " " + converter.problem, json).value();
    }
    if (first_error) return Fail(*std::move(first_error));
    return {};
  });
}

}  // namespace snakepit
