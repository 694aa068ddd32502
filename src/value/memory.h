// How much memory a value takes.
#ifndef SNAKEPIT_VALUE_MEMORY_H_
#define SNAKEPIT_VALUE_MEMORY_H_

#include <cstddef>

#include "snakepit/value.h"

namespace snakepit {

// The bytes that a value holds, nodes of maps included; what the allocator adds is not. Walks the
// whole value, but not its texts and bytes.
size_t MemoryBytes(const Value& value);

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_MEMORY_H_
