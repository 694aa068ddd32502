#include "src/wire/codec.h"

#include "src/wire/msgpack.h"

namespace snakepit {
namespace {

MapKeys KeysOf(int version) { return version >= 2 ? MapKeys::kText : MapKeys::kLegacy; }

}  // namespace

std::string_view CodecName(Codec codec) { return codec == Codec::kJson ? "json" : "msgpack"; }

std::optional<Codec> CodecFromName(std::string_view name) {
  for (const Codec codec : {Codec::kJson, Codec::kMessagePack}) {
    if (CodecName(codec) == name) return codec;
  }
  return std::nullopt;
}

Result<void> Encode(Codec codec, int version, const Value& value, std::string* out,
                    std::string_view root, int max_nesting, const EncodeLimits& limits) {
  return codec == Codec::kJson
             ? EncodeJson(value, out, root, max_nesting, DialectOf(version), limits)
             : EncodeMsgpack(value, out, root, max_nesting, limits);
}

Result<Value> Decode(Codec codec, int version, std::string_view payload, int max_nesting,
                     const DecodeLimits& limits) {
  return codec == Codec::kJson ? DecodeJson(payload, max_nesting, DialectOf(version), limits)
                               : DecodeMsgpack(payload, KeysOf(version), max_nesting, limits);
}

Result<void> DecodeMembers(Codec codec, int version, std::string_view payload,
                           std::span<Member> members, const DecodeLimits& limits, Values values) {
  return codec == Codec::kJson
             ? DecodeJsonMembers(payload, DialectOf(version), members, limits, values)
             : DecodeMsgpackMembers(payload, KeysOf(version), members, limits, values);
}

}  // namespace snakepit
