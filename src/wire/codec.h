// Either codec, chosen at run time. PROTOCOL.md 2.2. Usable from any thread.
#ifndef SNAKEPIT_WIRE_CODEC_H_
#define SNAKEPIT_WIRE_CODEC_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/json.h"
#include "src/value/member.h"

namespace snakepit {

// The form of values in JSON: version 2 of the protocol loses none. PROTOCOL.md 6.12.
inline JsonDialect DialectOf(int version) {
  return version >= 2 ? JsonDialect::kLossless : JsonDialect::kPlain;
}

// Same as EncodeJson or EncodeMsgpack, in the form that the version of the protocol has for values.
Result<void> Encode(Codec codec, int version, const Value& value, std::string* out,
                    std::string_view root = "value", int max_nesting = kMaxNesting,
                    const EncodeLimits& limits = {});

// Same as DecodeJson or DecodeMsgpack, from that form.
Result<Value> Decode(Codec codec, int version, std::string_view payload,
                     int max_nesting = kMaxNesting, const DecodeLimits& limits = {});

// Decodes a message, a map, into the `members` that its reader wants. Same as DecodeJsonMembers or
// DecodeMsgpackMembers.
Result<void> DecodeMembers(Codec codec, int version, std::string_view payload,
                           std::span<Member> members, const DecodeLimits& limits = {},
                           Values values = Values::kDecoded);

// The codec of that name ("json", "msgpack"), or nothing when there is none.
std::optional<Codec> CodecFromName(std::string_view name);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_CODEC_H_
