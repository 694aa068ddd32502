// MessagePack <-> Value. PROTOCOL.md 2.2 and 6.12. Usable from any thread.
#ifndef SNAKEPIT_WIRE_MSGPACK_H_
#define SNAKEPIT_WIRE_MSGPACK_H_

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

// Keys that a map may have, and the treatment of a str that is not UTF-8.
enum class MapKeys {
  // Version 2: a key is text, and such a str is an error. PROTOCOL.md 6.12.1
  kText,
  // Version 1: a key may also be a bin of UTF-8 or an integer, which become text, and such a str
  // becomes bytes. PROTOCOL.md 2.2.8 and 2.7.5
  kLegacy,
};

// Decodes exactly one MessagePack object: every type but the extensions.
// - str is text; bin is bytes; a float of 32 bits becomes a double.
// - Another key than MapKeys allows is an error. If keys are equal, the last one counts.
// The memory that it reserves follows the bytes that are there, not the lengths claimed.
// The error is an INVALID_ARGUMENT of one line: the fault, its byte, and the first bytes. It may
// also be that of DecodeBudget, or OutOfMemory; the rest of the message is then unread.
Result<Value> DecodeMsgpack(std::string_view bytes, MapKeys keys = MapKeys::kText,
                            int max_nesting = kMaxNesting, const DecodeLimits& limits = {});

// Decodes a map into `members`, and drops its other members. Each may nest kMaxNesting deep. The
// errors are those of DecodeMsgpack. Even then the members before the fault have been read.
Result<void> DecodeMsgpackMembers(std::string_view bytes, MapKeys keys, std::span<Member> members,
                                  const DecodeLimits& limits = {},
                                  Values values = Values::kDecoded);

// Appends the value: integers in their shortest form, doubles in 64 bits, bytes as bin.
// INVALID_ARGUMENT for text that is not UTF-8, for lengths over 2^32 - 1 and for nesting over the
// limit. Its message names the place, from `root` on. The error may also be that of EncodeBudget.
// On an error `*out` is unchanged.
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

#endif  // SNAKEPIT_WIRE_MSGPACK_H_
