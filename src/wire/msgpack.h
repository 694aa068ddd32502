// MessagePack <-> Value. PROTOCOL.md 2.2 and 6.12. Usable from any thread.
#ifndef SNAKEPIT_SRC_WIRE_MSGPACK_H_
#define SNAKEPIT_SRC_WIRE_MSGPACK_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/decode_budget.h"
#include "src/value/encode_limits.h"
#include "src/value/json.h"
#include "src/value/member.h"

namespace snakepit {

// Which keys a map may have, and what becomes of a str that is not UTF-8.
enum class MapKeys {
  kText,    // text alone; an error: version 2. PROTOCOL.md 6.12.1
  kLegacy,  // a bin of UTF-8, or an integer, too, which become text; bytes: version 1. 2.2.8, 2.7.5
};

// Decodes exactly one MessagePack object: every type but the extensions.
// - str is text; bin is bytes; a float of 32 bits becomes a double.
// - A key that may not be is an error. Of equal keys the last counts.
// What is reserved in memory follows the bytes that are there, not the lengths claimed.
// The error is an INVALID_ARGUMENT of one line: what is wrong, at which byte, and the first bytes.
// Or that of DecodeBudget, or OutOfMemory: what it would have been has not been found out then.
Result<Value> DecodeMsgpack(std::string_view bytes, MapKeys keys = MapKeys::kText,
                            int max_nesting = kMaxNesting, const DecodeLimits& limits = {});

// Decodes a map, of which `members` get theirs, and the others are dropped. Each may nest
// kMaxNesting deep. Errors as above; members before the fault have been read even then.
Result<void> DecodeMsgpackMembers(std::string_view bytes, MapKeys keys, std::span<Member> members,
                                  const DecodeLimits& limits = {},
                                  Values values = Values::kDecoded);

// Appends the value: integers in their shortest form, doubles in 64 bits, bytes as bin.
// INVALID_ARGUMENT, and `*out` unchanged, for text that is not UTF-8, for what is longer than
// 2^32 - 1 and for nesting over the limit; its message names the place, from `root` on. Or the
// error of EncodeBudget.
Result<void> EncodeMsgpack(const Value& value, std::string* out, std::string_view root = "value",
                           int max_nesting = kMaxNesting, const EncodeLimits& limits = {});

// The pieces, for messages that are written without a Value. Lengths must be under 2^32.
void AppendMsgpackMapHeader(size_t members, std::string* out);
void AppendMsgpackArrayHeader(size_t elements, std::string* out);
void AppendMsgpackText(std::string_view text, std::string* out);
void AppendMsgpackUint(uint64_t number, std::string* out);
void AppendMsgpackInt(int64_t number, std::string* out);
void AppendMsgpackBool(bool value, std::string* out);
void AppendMsgpackNil(std::string* out);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WIRE_MSGPACK_H_
