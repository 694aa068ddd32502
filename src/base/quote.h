// Foreign bytes and texts, made fit for one line of an error message.
#ifndef SNAKEPIT_SRC_BASE_QUOTE_H_
#define SNAKEPIT_SRC_BASE_QUOTE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace snakepit {

inline constexpr size_t kQuotedBytes = 64;

// The bytes between double quotes, as a C string literal has them ("hello\n\x00"): printable ASCII
// as it is, all else escaped. After the first max_bytes comes "…" in place of the rest.
std::string QuoteBytes(std::string_view bytes, size_t max_bytes = kQuotedBytes);

// "68 65 6c 6c".
std::string HexBytes(std::string_view bytes);

// The text with its control characters escaped (a line feed as \n), for messages of one line.
std::string OneLine(std::string_view text);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_QUOTE_H_
