// The examples of PROTOCOL.md, for tests.
#ifndef SNAKEPIT_WIRE_TESTING_FROM_HEX_H_
#define SNAKEPIT_WIRE_TESTING_FROM_HEX_H_

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

namespace snakepit {

// The bytes of hexadecimal digits; blanks and line breaks between them mean nothing.
inline std::string FromHex(std::string_view text) {
  std::string digits;
  std::copy_if(text.begin(), text.end(), std::back_inserter(digits),
               [](char c) { return c != ' ' && c != '\n'; });
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_TESTING_FROM_HEX_H_
