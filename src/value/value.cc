#include "snakepit/value.h"

#include <bit>
#include <cmath>
#include <optional>
#include <type_traits>

#include "src/base/quote.h"
#include "src/value/json.h"
#include "src/value/kind_error.h"
#include "src/value/path.h"

namespace snakepit {
namespace {

bool SameDouble(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

bool IsPlainWord(std::string_view key) {
  for (const char c : key) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!plain) return false;
  }
  return !key.empty() && key.size() <= kQuotedBytes;
}

// The kind that T stands for, for an error message.
template <typename T>
constexpr std::string_view KindName() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, uint64_t>) return "an integer from 0";
  if constexpr (std::is_same_v<T, double>) return "a number";
  if constexpr (std::is_same_v<T, std::string>) return "a text";
  if constexpr (std::is_same_v<T, Bytes>) return "bytes";
  if constexpr (std::is_same_v<T, Value::Array>) return "an array";
  if constexpr (std::is_same_v<T, Value::Map>) return "a map";
}

// nullopt when the value is of another kind. A number may be an integer.
std::optional<double> NumberIn(const Value& value) {
  if (const auto* number = value.get_if<double>()) return *number;
  if (const auto* integer = value.get_if<int64_t>()) return static_cast<double>(*integer);
  if (const auto* integer = value.get_if<uint64_t>()) return static_cast<double>(*integer);
  return std::nullopt;
}

template <typename T>
Result<T> GetFrom(const Value& value, std::string_view name) {
  if constexpr (std::is_same_v<T, double>) {
    if (const auto number = NumberIn(value)) return *number;
  } else if (const T* content = value.get_if<T>()) {
    return *content;
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    const auto* integer = value.get_if<int64_t>();  // as every integer up to INT64_MAX
    if (integer != nullptr && *integer >= 0) return static_cast<uint64_t>(*integer);
  }
  if (std::is_same_v<T, int64_t> && value.kind() == Value::Kind::kUint64) {
    return Fail(KindError(name, "an integer up to 9223372036854775807", value));
  }
  return Fail(KindError(name, KindName<T>(), value));
}

}  // namespace

Value::Value(std::string_view text) : kind_(Kind::kText) { data_.text = new std::string(text); }
Value::Value(std::string text) : kind_(Kind::kText) {
  data_.text = new std::string(std::move(text));
}
Value::Value(Bytes bytes) : kind_(Kind::kBytes) { data_.bytes = new Bytes(std::move(bytes)); }
Value::Value(Array array) : kind_(Kind::kArray) { data_.array = new Array(std::move(array)); }
Value::Value(Map map) : kind_(Kind::kMap) { data_.map = new Map(std::move(map)); }

Value::Value(const Value& other) : data_(other.data_), kind_(other.kind_) {
  switch (kind_) {
    case Kind::kText:
      data_.text = new std::string(*other.data_.text);
      break;
    case Kind::kBytes:
      data_.bytes = new Bytes(*other.data_.bytes);
      break;
    case Kind::kArray:
      data_.array = new Array(*other.data_.array);
      break;
    case Kind::kMap:
      data_.map = new Map(*other.data_.map);
      break;
    default:
      break;
  }
}

void Value::Free() {
  switch (kind_) {
    case Kind::kText:
      delete data_.text;
      break;
    case Kind::kBytes:
      delete data_.bytes;
      break;
    case Kind::kArray:
      delete data_.array;
      break;
    case Kind::kMap:
      delete data_.map;
      break;
    default:
      break;
  }
}

const Value* Value::Find(std::string_view key) const {
  const Map* map = get_if<Map>();
  if (map == nullptr) return nullptr;
  const auto it = map->find(key);
  return it == map->end() ? nullptr : &it->second;
}

Error KindError(std::string_view name, std::string_view wanted, const Value& found) {
  Error error;
  error.code = ErrorCode::kInvalidArgument;
  error.message =
      std::string(name) + " must be " + std::string(wanted) + ", not " + BriefJson(found);
  return error;
}

template <ValueContent T>
Result<T> Value::Get() const {
  return GetFrom<T>(*this, "the value");
}

template <ValueContent T>
Result<T> Value::Get(std::string_view key) const {
  const Value* member = Find(key);
  if (member == nullptr) return Fail(ErrorCode::kInvalidArgument, QuoteBytes(key) + " is missing");
  return GetFrom<T>(*member, QuoteBytes(key));
}

template Result<bool> Value::Get() const;
template Result<int64_t> Value::Get() const;
template Result<uint64_t> Value::Get() const;
template Result<double> Value::Get() const;
template Result<std::string> Value::Get() const;
template Result<Bytes> Value::Get() const;
template Result<Value::Array> Value::Get() const;
template Result<Value::Map> Value::Get() const;
template Result<bool> Value::Get(std::string_view key) const;
template Result<int64_t> Value::Get(std::string_view key) const;
template Result<uint64_t> Value::Get(std::string_view key) const;
template Result<double> Value::Get(std::string_view key) const;
template Result<std::string> Value::Get(std::string_view key) const;
template Result<Bytes> Value::Get(std::string_view key) const;
template Result<Value::Array> Value::Get(std::string_view key) const;
template Result<Value::Map> Value::Get(std::string_view key) const;

int64_t Value::IntegerAt(std::string_view key, int64_t otherwise) const {
  const Value* member = Find(key);
  const int64_t* integer = member == nullptr ? nullptr : member->get_if<int64_t>();
  return integer == nullptr ? otherwise : *integer;
}

double Value::NumberAt(std::string_view key, double otherwise) const {
  const Value* member = Find(key);
  return member == nullptr ? otherwise : NumberIn(*member).value_or(otherwise);
}

bool Value::BoolAt(std::string_view key, bool otherwise) const {
  const Value* member = Find(key);
  const bool* flag = member == nullptr ? nullptr : member->get_if<bool>();
  return flag == nullptr ? otherwise : *flag;
}

const Value::Map& Value::members() const& {
  static const Map kNone;
  const Map* map = get_if<Map>();
  return map == nullptr ? kNone : *map;
}

std::string_view Value::TextAt(std::string_view key, std::string_view otherwise) const {
  const Value* member = Find(key);
  const std::string* text = member == nullptr ? nullptr : member->get_if<std::string>();
  return text == nullptr ? otherwise : *text;
}

bool operator==(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  return a.Visit([&](const auto& left) {
    using T = std::decay_t<decltype(left)>;
    if constexpr (std::is_same_v<T, std::nullptr_t>) {
      return true;
    } else if constexpr (std::is_same_v<T, double>) {
      return SameDouble(left, *b.get_if<T>());
    } else {
      return left == *b.get_if<T>();
    }
  });
}

Result<Value> Value::FromJson(std::string_view json) { return DecodeJson(json); }

std::string Value::ToJson() const {
  std::string out;
  AppendDisplayJson(*this, &out);
  return out;
}

void FailurePath::AddKey(std::string_view key) {
  const bool is_short_word = key.size() <= kQuotedBytes && IsPlainWord(key);
  path_.insert(0, is_short_word ? "." + std::string(key) : "[" + QuoteBytes(key) + "]");
}

}  // namespace snakepit
