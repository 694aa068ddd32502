#include "src/base/utf8.h"

#include <algorithm>

namespace snakepit {

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
  // Faults that the lead alone does not exclude: overlong forms, surrogates, over U+10FFFF.
  const unsigned char second = byte(1);
  if (lead == 0xe0 && second < 0xa0) return 0;
  if (lead == 0xed && second > 0x9f) return 0;
  if (lead == 0xf0 && second < 0x90) return 0;
  if (lead == 0xf4 && second > 0x8f) return 0;
  return length;
}

std::string RepairUtf8(std::string_view bytes) {
  std::string repaired;
  repaired.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t length = Utf8SequenceLength(bytes);
    repaired += length == 0 ? "\uFFFD" : bytes.substr(0, length);
    bytes.remove_prefix(std::max<size_t>(1, length));
  }
  return repaired;
}

std::string_view Utf8Prefix(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  // The character at the cut begins with one of the last three bytes before it, or at the cut.
  for (size_t begin = max_bytes; begin + 3 >= max_bytes; --begin) {
    if ((static_cast<unsigned char>(text[begin]) & 0xc0) != 0x80) {
      const size_t length = Utf8SequenceLength(text.substr(begin));
      return text.substr(0, begin + length > max_bytes ? begin : max_bytes);
    }
    if (begin == 0) break;
  }
  return text.substr(0, max_bytes);  // not UTF-8 here
}

}  // namespace snakepit
