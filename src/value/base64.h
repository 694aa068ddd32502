// Base64 of RFC 4648 section 4, with padding. Usable from any thread.
#ifndef SNAKEPIT_SRC_VALUE_BASE64_H_
#define SNAKEPIT_SRC_VALUE_BASE64_H_

#include <optional>
#include <string>
#include <string_view>

namespace snakepit {

void AppendBase64(std::string_view bytes, std::string* out);

// The bytes, or nothing when the text is not what AppendBase64 writes for any: no other characters,
// whitespace included, no missing padding, no bits beyond the last byte.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_VALUE_BASE64_H_
