// JSON <-> Value. PROTOCOL.md 2.2. Usable from any thread.
#ifndef SNAKEPIT_SRC_VALUE_JSON_H_
#define SNAKEPIT_SRC_VALUE_JSON_H_

#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "snakepit/value.h"

namespace snakepit {

// How many arrays and maps may enclose each other in a value, the outermost counted: [[]] has 2.
inline constexpr int kMaxNesting = 64;

// Decodes exactly one JSON text (RFC 8259), with whitespace around it at most.
// - A number without '.', 'e' and 'E' is an integer. One that neither int64 nor uint64 holds is an
//   error, as is one beyond the doubles: a nearby number would be a silent change.
// - Of members with the same name, the last counts.
// - A \u escape of half a surrogate pair is an error: no UTF-8 text can hold it.
// - NaN, Infinity and -Infinity, which Python writes, are an error that names them.
// The error is an INVALID_ARGUMENT of one line: what is wrong, at which byte, and the first bytes.
Result<Value> DecodeJson(std::string_view json, int max_nesting = kMaxNesting);

// As DecodeJson, for texts that often are not JSON: true, or false without the reason.
bool TryDecodeJson(std::string_view json, Value* value, int max_nesting = kMaxNesting);

// Appends the value as JSON, on one line, in UTF-8 with only '"', '\' and control characters
// escaped. Doubles are written in the shortest form that gives the same double again, always with a
// '.' or an 'e', so that they stay doubles. INVALID_ARGUMENT, and `*out` unchanged, for what JSON
// cannot hold: bytes, NaN, infinities, text that is not UTF-8, nesting over the limit; its message
// names the place, from `root` on: "args.items[3].x".
Result<void> EncodeJson(const Value& value, std::string* out, std::string_view root = "value",
                        int max_nesting = kMaxNesting);

// Appends the text between double quotes, escaped as above. It must be UTF-8.
void AppendJsonText(std::string_view text, std::string* out);

// What Value::ToJson promises.
void AppendDisplayJson(const Value& value, std::string* out);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_VALUE_JSON_H_
