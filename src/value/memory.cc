#include "src/value/memory.h"

#include <string>

namespace snakepit {
namespace {

// A node of std::map: the colour and three pointers, beside the key and the value.
constexpr size_t kMapNodeBytes = 4 * sizeof(void*) + sizeof(Value::Map::value_type);

// Short texts are inside the std::string itself.
size_t HeapBytes(const std::string& text) {
  return text.capacity() > std::string().capacity() ? text.capacity() + 1 : 0;
}

// Beside the Value itself.
size_t HeapBytes(const Value& value) {
  if (const auto* text = value.get_if<std::string>()) return HeapBytes(*text);
  if (const auto* bytes = value.get_if<Bytes>()) return HeapBytes(bytes->data);
  size_t sum = 0;
  if (const auto* array = value.get_if<Value::Array>()) {
    sum = (array->capacity() - array->size()) * sizeof(Value);
    for (const Value& element : *array) sum += MemoryBytes(element);
  } else if (const auto* map = value.get_if<Value::Map>()) {
    for (const auto& [key, member] : *map) {
      sum += kMapNodeBytes + HeapBytes(key) + HeapBytes(member);
    }
  }
  return sum;
}

}  // namespace

size_t MemoryBytes(const Value& value) { return sizeof(Value) + HeapBytes(value); }

}  // namespace snakepit
