#include "src/value/utf8.h"

#include <simdjson.h>

#include <algorithm>

namespace snakepit {

bool IsUtf8(std::string_view bytes) {
  // Most texts are short, and for those a loop beats the vector code's set-up.
  if (bytes.size() <= 32) {
    bool ascii = true;
    for (const char byte : bytes) ascii &= static_cast<signed char>(byte) >= 0;
    if (ascii) return true;
  }
  return simdjson::validate_utf8(bytes.data(), bytes.size());
}

size_t Utf8SequenceLength(std::string_view bytes) {
  if (bytes.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || bytes.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // What the lead alone does not exclude: overlong forms, surrogates, over U+10FFFF.
  const unsigned char second = byte(1);
  if (lead == 0xe0 && second < 0xa0) return 0;
  if (lead == 0xed && second > 0x9f) return 0;
  if (lead == 0xf0 && second < 0x90) return 0;
  if (lead == 0xf4 && second > 0x8f) return 0;
  return length;
}

std::string RepairUtf8(std::string_view bytes) {
  std::string repaired;
  while (!bytes.empty()) {
    const size_t length = Utf8SequenceLength(bytes);
    repaired += length == 0 ? "\uFFFD" : bytes.substr(0, length);
    bytes.remove_prefix(std::max<size_t>(1, length));
  }
  return repaired;
}

}  // namespace snakepit
