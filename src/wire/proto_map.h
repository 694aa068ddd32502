// Value <-> the map<string, bytes> of the gRPC messages, by the rules of workers in the field.
// PROTOCOL.md 4.3. Usable from any thread.
#ifndef SNAKEPIT_WIRE_PROTO_MAP_H_
#define SNAKEPIT_WIRE_PROTO_MAP_H_

#include <google/protobuf/map.h>

#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/decode_budget.h"
#include "src/value/encode_limits.h"

namespace snakepit {

using ProtoMap = google::protobuf::Map<std::string, std::string>;

// To the worker: replaces `*out` by the members of `map_or_null`. Bytes stay as they are. Anything
// else becomes JSON, text too, in quotes, so that "123" stays text. INVALID_ARGUMENT, naming the
// place from `root` on, when it is neither map nor null or when JSON cannot hold a member. The
// error may also be that of EncodeBudget, which looks at each member by itself.
Result<void> EncodeMap(const Value& map_or_null, ProtoMap* out, std::string_view root = "args",
                       const EncodeLimits& limits = {});

// From the worker: a member that is not UTF-8 is bytes, a member that is JSON is that value, and
// any other is text. Returns a map. The errors are those of DecodeBudget, and OutOfMemory.
Result<Value> DecodeMap(const ProtoMap& map, const DecodeLimits& limits = {});

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_PROTO_MAP_H_
