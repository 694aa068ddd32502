#include "src/wire/proto_map.h"

#include <utility>

#include "src/base/quote.h"
#include "src/value/json.h"
#include "src/value/memory.h"
#include "src/value/path.h"
#include "src/value/utf8.h"

namespace snakepit {
namespace {

// The map itself is one level of the value that it stands for.
constexpr int kMemberNesting = kMaxNesting - 1;

// False: it is the budget's error.
bool DecodeMember(const std::string& bytes, DecodeBudget* budget, Value* out) {
  const bool is_text = IsUtf8(bytes);
  if (is_text && TryDecodeJson(bytes, out, budget, kMemberNesting)) return true;
  if (budget->error()) return false;
  if (!budget->Take(sizeof(std::string) + TextHeapBytes(bytes.size()))) return false;
  *out = is_text ? Value(bytes) : Value(Bytes{bytes});
  return true;
}

}  // namespace

Result<void> EncodeMap(const Value& map_or_null, ProtoMap* out, std::string_view root,
                       const EncodeLimits& limits) {
  out->clear();
  if (map_or_null.is_null()) return {};
  const Value::Map* map = map_or_null.get_if<Value::Map>();
  if (map == nullptr) {
    return Fail(ErrorCode::kInvalidArgument, std::string(root) + " is neither a map nor null");
  }
  for (const auto& [key, value] : *map) {
    if (!IsUtf8(key)) {
      return Fail(ErrorCode::kInvalidArgument,
                  std::string(root) + " has a key that is not UTF-8: " + QuoteBytes(key));
    }
    std::string& member = (*out)[key];
    if (const Bytes* bytes = value.get_if<Bytes>()) {
      member = bytes->data;
      continue;
    }
    FailurePath path;
    path.AddKey(key);
    Result<void> encoded = EncodeJson(value, &member, path.ToString(root), kMemberNesting,
                                      JsonDialect::kPlain, limits);
    if (!encoded) return encoded;
  }
  return {};
}

Result<Value> DecodeMap(const ProtoMap& map, const DecodeLimits& limits) {
  size_t size = 0;
  for (const auto& [key, bytes] : map) size += key.size() + bytes.size();
  return OrOutOfMemory(size, [&]() -> Result<Value> {
    DecodeBudget budget(limits);
    Value::Map members;
    for (const auto& [key, bytes] : map) {
      if (!budget.Take(kMapNodeBytes + TextHeapBytes(key.size())) ||
          !DecodeMember(bytes, &budget, &members[key])) {
        return Fail(Error(*budget.error()));
      }
    }
    return members;
  });
}

}  // namespace snakepit
