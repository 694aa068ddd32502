// A check for UTF-8 at the speed of vector code. The other functions are in src/base/utf8.h.
#ifndef SNAKEPIT_VALUE_UTF8_H_
#define SNAKEPIT_VALUE_UTF8_H_

#include <string_view>

#include "src/base/utf8.h"

namespace snakepit {

bool IsUtf8(std::string_view bytes);

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_UTF8_H_
