#include "src/value/utf8.h"

#include <simdjson.h>

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

}  // namespace snakepit
