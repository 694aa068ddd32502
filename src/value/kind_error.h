// The error text for a value of another kind or range than its reader wants.
#ifndef SNAKEPIT_VALUE_KIND_ERROR_H_
#define SNAKEPIT_VALUE_KIND_ERROR_H_

#include <string_view>

#include "snakepit/error.h"
#include "snakepit/value.h"

namespace snakepit {

// INVALID_ARGUMENT: `"count" must be an integer, not "three"`. `name` comes with its quotes; a long
// value is shown by its beginning.
Error KindError(std::string_view name, std::string_view wanted, const Value& found);

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_KIND_ERROR_H_
