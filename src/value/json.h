// JSON <-> Value. PROTOCOL.md 2.2 and 6.12. Usable from any thread.
#ifndef SNAKEPIT_SRC_VALUE_JSON_H_
#define SNAKEPIT_SRC_VALUE_JSON_H_

#include <span>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/decode_budget.h"
#include "src/value/encode_limits.h"
#include "src/value/member.h"

namespace snakepit {

// How many arrays and maps may enclose each other in a value, the outermost counted: [[]] has 2.
inline constexpr int kMaxNesting = 64;

// How JSON is to carry values.
enum class JsonDialect {
  // As RFC 8259 has it: no bytes, NaN or infinities. Version 1. PROTOCOL.md 2.2.3.
  kPlain,
  // Every value, bit for bit: bytes are {"$bytes":"<base64>"}, NaN and infinities are
  // {"$double":"<16 hex digits>"}, and a map of one member whose key begins with '$' has one '$'
  // more. A tag is no map for the nesting. Version 2. PROTOCOL.md 6.12.
  kLossless,
};

// Decodes exactly one JSON text (RFC 8259), with whitespace around it at most.
// - A number without '.', 'e' and 'E' is an integer. One that neither int64 nor uint64 holds is an
//   error, as is one beyond the doubles: a nearby number would be a silent change.
// - Of members with the same name, the last counts.
// - A \u escape of half a surrogate pair is an error: no UTF-8 text can hold it.
// - NaN, Infinity and -Infinity, which Python writes, are an error that names them.
// - kLossless: a map of one member that looks like a tag and is none is an error.
// The error is an INVALID_ARGUMENT of one line: what is wrong, at which byte or in which member,
// and the first bytes. Or that of DecodeBudget, or OutOfMemory. Reading the text takes, beside what
// the limits count, up to 15 times its size for a moment.
Result<Value> DecodeJson(std::string_view json, int max_nesting = kMaxNesting,
                         JsonDialect dialect = JsonDialect::kPlain,
                         const DecodeLimits& limits = {});

// Decodes a map, of which `members` get theirs, and the others are dropped. Only values are in that
// dialect: the map itself, and all else in it, are plain. Each may nest kMaxNesting deep. Errors as
// above; members that could be read have been even then, as far as the text is JSON.
Result<void> DecodeJsonMembers(std::string_view json, JsonDialect dialect,
                               std::span<Member> members, const DecodeLimits& limits = {},
                               Values values = Values::kDecoded);

// As DecodeJson, for texts that often are not JSON: true, or false without the reason, unless that
// is the budget's error. Throws std::bad_alloc.
bool TryDecodeJson(std::string_view json, Value* value, DecodeBudget* budget,
                   int max_nesting = kMaxNesting);

// Appends the value as JSON, on one line, in UTF-8 with only '"', '\' and control characters
// escaped. Doubles are written in the shortest form that gives the same double again, always with a
// '.' or an 'e', so that they stay doubles. INVALID_ARGUMENT, and `*out` unchanged, for what JSON
// cannot hold: text that is not UTF-8, nesting over the limit and, in kPlain, bytes, NaN and
// infinities; its message names the place, from `root` on: "args.items[3].x".
// Or the error of EncodeBudget.
Result<void> EncodeJson(const Value& value, std::string* out, std::string_view root = "value",
                        int max_nesting = kMaxNesting, JsonDialect dialect = JsonDialect::kPlain,
                        const EncodeLimits& limits = {});

// Appends the text between double quotes, escaped as above. It must be UTF-8.
void AppendJsonText(std::string_view text, std::string* out);

// What Value::ToJson promises.
void AppendDisplayJson(const Value& value, std::string* out);

// The beginning of it, for an error message, and safe to show (src/base/quote.h): however large the
// value is, at most some hundred bytes, and "…" where there is more.
std::string BriefJson(const Value& value);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_VALUE_JSON_H_
