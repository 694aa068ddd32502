// Base64 of RFC 4648 section 4, with padding. Usable from any thread.
#ifndef SNAKEPIT_VALUE_BASE64_H_
#define SNAKEPIT_VALUE_BASE64_H_

#include <optional>
#include <string>
#include <string_view>

namespace snakepit {

void AppendBase64(std::string_view bytes, std::string* out);

// Accepts only texts that AppendBase64 writes: without other characters, whitespace included, with
// all padding, and without bits beyond the last byte. Nothing for any other text.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_BASE64_H_
