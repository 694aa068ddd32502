// UTF-8: Unicode 15, table 3-7: no surrogates, no overlong forms, nothing over U+10FFFF.
#ifndef SNAKEPIT_SRC_BASE_UTF8_H_
#define SNAKEPIT_SRC_BASE_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace snakepit {

// The length, 1 to 4, of the well-formed sequence that `bytes` begins with; 0 when there is none.
size_t Utf8SequenceLength(std::string_view bytes);

// The text, with U+FFFD for each byte that is not part of a well-formed sequence.
std::string RepairUtf8(std::string_view bytes);

// The beginning of the text, of so many bytes at most, without a part of a character at its end.
std::string_view Utf8Prefix(std::string_view text, size_t max_bytes);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_UTF8_H_
