#include "src/wire/codec.h"

#include "src/wire/msgpack.h"

namespace snakepit {

std::string_view CodecName(Codec codec) { return codec == Codec::kJson ? "json" : "msgpack"; }

std::optional<Codec> CodecFromName(std::string_view name) {
  for (const Codec codec : {Codec::kJson, Codec::kMessagePack}) {
    if (CodecName(codec) == name) return codec;
  }
  return std::nullopt;
}

Result<void> Encode(Codec codec, const Value& value, std::string* out, std::string_view root,
                    int max_nesting) {
  return codec == Codec::kJson ? EncodeJson(value, out, root, max_nesting)
                               : EncodeMsgpack(value, out, root, max_nesting);
}

Result<Value> Decode(Codec codec, std::string_view payload, int max_nesting) {
  return codec == Codec::kJson ? DecodeJson(payload, max_nesting)
                               : DecodeMsgpack(payload, max_nesting);
}

}  // namespace snakepit
