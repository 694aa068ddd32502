// Memory that a value takes.
#ifndef SNAKEPIT_VALUE_MEMORY_H_
#define SNAKEPIT_VALUE_MEMORY_H_

#include <cstddef>
#include <string>

#include "snakepit/value.h"

namespace snakepit {

// The bytes that a value holds, including the nodes of maps, without the 8 to 23 bytes that the
// allocator adds to each block. Walks the whole value, but not its texts and bytes.
size_t MemoryBytes(const Value& value);

// A node of a map: the colour and three pointers, beside the key and the value.
inline constexpr size_t kMapNodeBytes = 4 * sizeof(void*) + sizeof(Value::Map::value_type);

// Heap bytes of a text of that size, beside the std::string, which holds short texts itself.
inline size_t TextHeapBytes(size_t size) { return size > std::string().capacity() ? size + 1 : 0; }

}  // namespace snakepit

#endif  // SNAKEPIT_VALUE_MEMORY_H_
