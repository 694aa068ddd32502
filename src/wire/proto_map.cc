#include "src/wire/proto_map.h"

#include <utility>

#include "src/base/quote.h"
#include "src/value/json.h"
#include "src/value/path.h"
#include "src/value/utf8.h"

namespace snakepit {
namespace {

// The map itself is one level of the value that it stands for.
constexpr int kMemberNesting = kMaxNesting - 1;

Value DecodeMember(const std::string& bytes) {
  if (!IsUtf8(bytes)) return Bytes{bytes};
  Value value;
  if (TryDecodeJson(bytes, &value, kMemberNesting)) return value;
  return bytes;
}

}  // namespace

Result<void> EncodeMap(const Value& map_or_null, ProtoMap* out, std::string_view root) {
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
    Result<void> encoded = EncodeJson(value, &member, path.ToString(root), kMemberNesting);
    if (!encoded) return encoded;
  }
  return {};
}

Value DecodeMap(const ProtoMap& map) {
  Value::Map members;
  for (const auto& [key, bytes] : map) members.insert_or_assign(key, DecodeMember(bytes));
  return members;
}

}  // namespace snakepit
