#include "src/base/quote.h"

namespace snakepit {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

bool IsControl(unsigned char byte) { return byte < 0x20 || byte == 0x7f; }

void AppendEscaped(unsigned char byte, std::string* out) {
  switch (byte) {
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      *out += "\\x";
      *out += kHexDigits[byte >> 4];
      *out += kHexDigits[byte & 15];
  }
}

}  // namespace

std::string QuoteBytes(std::string_view bytes, size_t max_bytes) {
  std::string out = "\"";
  for (const unsigned char byte : bytes.substr(0, max_bytes)) {
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += static_cast<char>(byte);
    } else if (IsControl(byte) || byte > 0x7f) {
      AppendEscaped(byte, &out);
    } else {
      out += static_cast<char>(byte);
    }
  }
  out += '"';
  if (bytes.size() > max_bytes) out += "…";
  return out;
}

std::string HexBytes(std::string_view bytes) {
  std::string out;
  for (const unsigned char byte : bytes) {
    if (!out.empty()) out += ' ';
    out += kHexDigits[byte >> 4];
    out += kHexDigits[byte & 15];
  }
  return out;
}

std::string OneLine(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const unsigned char byte : text) {
    if (IsControl(byte)) {
      AppendEscaped(byte, &out);
    } else {
      out += static_cast<char>(byte);
    }
  }
  return out;
}

}  // namespace snakepit
