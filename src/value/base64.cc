#include "src/value/base64.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace snakepit {
namespace {

constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// No digit has a value with this bit.
constexpr uint8_t kNoDigit = 0x80;

constexpr std::array<uint8_t, 256> MakeDigitValues() {
  std::array<uint8_t, 256> values{};
  values.fill(kNoDigit);
  for (uint8_t i = 0; i < 64; ++i) values[static_cast<unsigned char>(kDigits[i])] = i;
  return values;
}
constexpr std::array<uint8_t, 256> kDigitValues = MakeDigitValues();

uint32_t ByteAt(std::string_view bytes, size_t at) {
  return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0;
}

}  // namespace

void AppendBase64(std::string_view bytes, std::string* out) {
  const size_t start = out->size();
  out->resize(start + (bytes.size() + 2) / 3 * 4);
  char* digit = out->data() + start;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const uint32_t group =
        ByteAt(bytes, i) << 16 | ByteAt(bytes, i + 1) << 8 | ByteAt(bytes, i + 2);
    *digit++ = kDigits[group >> 18];
    *digit++ = kDigits[group >> 12 & 63];
    *digit++ = kDigits[group >> 6 & 63];
    *digit++ = kDigits[group & 63];
  }
  std::fill_n(digit - (3 - bytes.size() % 3) % 3, (3 - bytes.size() % 3) % 3, '=');
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.empty()) return std::string();
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const size_t digits = text.size() - padding;
  std::string bytes(text.size() / 4 * 3, '\0');
  char* byte = bytes.data();
  uint32_t group = 0;
  uint8_t seen = 0;
  for (size_t i = 0; i < text.size(); i += 4) {
    group = 0;
    for (size_t j = i; j < i + 4; ++j) {
      const uint8_t value =
          j < digits ? kDigitValues[static_cast<unsigned char>(text[j])] : uint8_t{0};
      seen |= value;
      group = group << 6 | (value & 63);
    }
    *byte++ = static_cast<char>(group >> 16);
    *byte++ = static_cast<char>(group >> 8);
    *byte++ = static_cast<char>(group);
  }
  const uint32_t beyond = (uint32_t{1} << (8 * padding)) - 1;
  if ((seen & kNoDigit) != 0 || (group & beyond) != 0) return std::nullopt;
  bytes.resize(bytes.size() - padding);
  return bytes;
}

}  // namespace snakepit
