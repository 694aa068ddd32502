// MessagePack <-> Value. PROTOCOL.md 2.2. Usable from any thread.
#ifndef SNAKEPIT_SRC_WIRE_MSGPACK_H_
#define SNAKEPIT_SRC_WIRE_MSGPACK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/json.h"

namespace snakepit {

// Decodes exactly one MessagePack object: every type but the extensions.
// - str must be UTF-8, and is text; bin is bytes; a float of 32 bits becomes a double.
// - A map's keys are text. A key that is a bin of UTF-8, or an integer, becomes text, as it would
//   in JSON; any other is an error. Of equal keys the last counts.
// What is reserved in memory follows the bytes that are there, not the lengths claimed.
// The error is an INVALID_ARGUMENT of one line: what is wrong, at which byte, and the first bytes.
Result<Value> DecodeMsgpack(std::string_view bytes, int max_nesting = kMaxNesting);

// Appends the value: integers in their shortest form, doubles in 64 bits, bytes as bin.
// INVALID_ARGUMENT, and `*out` unchanged, for text that is not UTF-8, for what is longer than
// 2^32 - 1 and for nesting over the limit; its message names the place, from `root` on.
Result<void> EncodeMsgpack(const Value& value, std::string* out, std::string_view root = "value",
                           int max_nesting = kMaxNesting);

// The pieces, for messages that are written without a Value. Lengths must be under 2^32.
void AppendMsgpackMapHeader(size_t members, std::string* out);
void AppendMsgpackArrayHeader(size_t elements, std::string* out);
void AppendMsgpackText(std::string_view text, std::string* out);
void AppendMsgpackUint(uint64_t number, std::string* out);
void AppendMsgpackInt(int64_t number, std::string* out);
void AppendMsgpackBool(bool value, std::string* out);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WIRE_MSGPACK_H_
