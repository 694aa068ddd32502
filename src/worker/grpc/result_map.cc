#include "src/worker/grpc/result_map.h"

#include <string>
#include <utility>

#include "src/base/quote.h"
#include "src/value/json.h"
#include "src/value/utf8.h"

namespace snakepit {
namespace {

Result<std::string> EncodeMember(const std::string& key, const Value& value) {
  const auto fail = [](std::string message) {
    return Fail(ErrorCode::kHandlerFailed, std::move(message));
  };
  if (!IsUtf8(key)) return fail("a key is not UTF-8: " + QuoteBytes(key));
  if (const Bytes* bytes = value.get_if<Bytes>()) return bytes->data;
  if (const std::string* text = value.get_if<std::string>()) {
    if (!IsUtf8(*text)) return fail("result." + key + " is a text that is not UTF-8");
    return *text;
  }
  std::string json;
  // The map is one level of the value that it stands for.
  const Result<void> encoded = EncodeJson(value, &json, "result." + key, kMaxNesting - 1);
  if (!encoded) return fail(encoded.error().message);
  return json;
}

}  // namespace

Result<void> EncodeResultMap(const Value& result, ProtoMap* out) {
  out->clear();
  const auto add = [out](const std::string& key, const Value& value) -> Result<void> {
    Result<std::string> member = EncodeMember(key, value);
    if (!member) return Fail(std::move(member.error()));
    (*out)[key] = *std::move(member);
    return {};
  };
  const Value::Map* map = result.get_if<Value::Map>();
  if (map == nullptr) return add("result", result);
  for (const auto& [key, value] : *map) {
    if (Result<void> added = add(key, value); !added) return added;
  }
  return {};
}

}  // namespace snakepit
