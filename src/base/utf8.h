// UTF-8: Unicode 15, table 3-7: no surrogates, no overlong forms, nothing over U+10FFFF.
#ifndef SNAKEPIT_BASE_UTF8_H_
#define SNAKEPIT_BASE_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace snakepit {

// Length, 1 to 4, of the well-formed sequence that `bytes` begins with; 0 if there is none.
size_t Utf8SequenceLength(std::string_view bytes);

// The text, with U+FFFD for each byte outside a well-formed sequence.
std::string RepairUtf8(std::string_view bytes);

// The first max_bytes of the text at most, without a partial character at the end.
std::string_view Utf8Prefix(std::string_view text, size_t max_bytes);

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_UTF8_H_
