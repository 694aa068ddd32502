#include "snakepit/value.h"

#include <bit>
#include <cmath>
#include <type_traits>

#include "src/base/quote.h"
#include "src/value/json.h"
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
