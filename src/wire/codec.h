// Either codec, chosen at run time. PROTOCOL.md 2.2. Usable from any thread.
#ifndef SNAKEPIT_SRC_WIRE_CODEC_H_
#define SNAKEPIT_SRC_WIRE_CODEC_H_

#include <optional>
#include <string>
#include <string_view>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/json.h"

namespace snakepit {

// As EncodeJson or EncodeMsgpack.
Result<void> Encode(Codec codec, const Value& value, std::string* out,
                    std::string_view root = "value", int max_nesting = kMaxNesting);

// As DecodeJson or DecodeMsgpack.
Result<Value> Decode(Codec codec, std::string_view payload, int max_nesting = kMaxNesting);

// The codec of that name ("json", "msgpack"), or nothing when there is none.
std::optional<Codec> CodecFromName(std::string_view name);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WIRE_CODEC_H_
