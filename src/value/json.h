// JSON <-> Value. PROTOCOL.md 2.2 and 6.12. Usable from any thread.
#ifndef SNAKEPIT_VALUE_JSON_H_
#define SNAKEPIT_VALUE_JSON_H_

#include <span>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/decode_budget.h"
#include "src/value/encode_limits.h"
#include "src/value/member.h"

namespace snakepit {

// Most arrays and maps that enclose each other in a value, the outermost included: [[]] has 2.
inline constexpr int kMaxNesting = 64;

// The form of values in JSON.
enum class JsonDialect {
  // The JSON of RFC 8259: no bytes, NaN or infinities. Version 1. PROTOCOL.md 2.2.3.
  kPlain,
  // Every value, bit for bit. Bytes are {"$bytes":"<base64>"}, NaN and infinities are
  // {"$double":"<16 hex digits>"}. A map of one member whose key begins with '$' has one '$' more.
  // A tag does not count as a map for the nesting. Version 2. PROTOCOL.md 6.12.
  kLossless,
};

// Decodes exactly one JSON text (RFC 8259), with whitespace around it at most.
// - A number without '.', 'e' and 'E' is an integer. One that neither int64 nor uint64 holds is an
//   error, and so is one beyond the doubles: a nearby number would be a silent change.
// - If members have the same name, the last one counts.
// - A \u escape of half a surrogate pair is an error: no UTF-8 text can hold it.
// - NaN, Infinity and -Infinity, which Python writes, are an error that names them.
// - In kLossless, a map of one member that looks like a tag and is none is an error.
// The error is an INVALID_ARGUMENT of one line: the fault, its byte or member, and the first bytes.
// It may also be that of DecodeBudget, or OutOfMemory. Beside the memory that the limits count,
// reading takes up to 15 times the size of the text for a moment.
Result<Value> DecodeJson(std::string_view json, int max_nesting = kMaxNesting,
                         JsonDialect dialect = JsonDialect::kPlain,
                         const DecodeLimits& limits = {});

// Decodes a map into `members`, and drops its other members. Only values are in that dialect: the
// map itself, and everything else in it, is plain. Each may nest kMaxNesting deep. The errors are
// those of DecodeJson. Even then the members before the fault have been read.
Result<void> DecodeJsonMembers(std::string_view json, JsonDialect dialect,
                               std::span<Member> members, const DecodeLimits& limits = {},
                               Values values = Values::kDecoded);

// Same as DecodeJson, for texts that often are not JSON. False does not say why, unless the budget
// has an error. Throws std::bad_alloc.
bool TryDecodeJson(std::string_view json, Value* value, DecodeBudget* budget,
                   int max_nesting = kMaxNesting);

// Appends the value as JSON, on one line, in UTF-8 with only '"', '\' and control characters
// escaped. Doubles are written in the shortest form that gives the same double again, always with a
// '.' or an 'e', so that they stay doubles. INVALID_ARGUMENT for values that JSON cannot hold: text
// that is not UTF-8, nesting over the limit and, in kPlain, bytes, NaN and infinities. The message
// names the place, from `root` on: "args.items[3].x". The error may also be that of EncodeBudget.
// On an error `*out` is unchanged.
Result<void> EncodeJson(const Value& value, std::string* out, std::string_view root = "value",
                        int max_nesting = kMaxNesting, JsonDialect dialect = JsonDialect::kPlain,
                        const EncodeLimits& limits = {});

// Appends the text between double quotes, escaped as above. It must be UTF-8.
void AppendJsonText(std::string_view text, std::string* out);

// Appends the text that Value::ToJson describes.
void AppendDisplayJson(const Value& value, std::string* out);

// The beginning of that text, for an error message, safe to show (src/base/quote.h). It has at most
// some hundred bytes, however large the value is, and "…" where there is more.
std::string BriefJson(const Value& value);

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_JSON_H_
