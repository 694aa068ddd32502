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
  return std::visit(
      [&](const auto& left) {
        using T = std::decay_t<decltype(left)>;
        const T& right = std::get<T>(b.data_);
        if constexpr (std::is_same_v<T, double>) {
          return SameDouble(left, right);
        } else {
          return left == right;
        }
      },
      a.data_);
}

Result<Value> Value::FromJson(std::string_view json) { return DecodeJson(json); }

std::string Value::ToJson() const {
  std::string out;
  AppendDisplayJson(*this, &out);
  return out;
}

void FailurePath::AddKey(std::string_view key) {
  path_.insert(0, IsPlainWord(key) ? "." + std::string(key) : "[" + QuoteBytes(key) + "]");
}

}  // namespace snakepit
