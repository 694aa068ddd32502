#include "src/value/memory.h"

namespace snakepit {
namespace {

// Beside the Value itself.
size_t HeapBytes(const Value& value) {
  if (const auto* text = value.get_if<std::string>()) {
    return sizeof(std::string) + TextHeapBytes(text->capacity());
  }
  if (const auto* bytes = value.get_if<Bytes>()) {
    return sizeof(Bytes) + TextHeapBytes(bytes->data.capacity());
  }
  size_t sum = 0;
  if (const auto* array = value.get_if<Value::Array>()) {
    sum = sizeof(Value::Array) + array->capacity() * sizeof(Value);
    for (const Value& element : *array) sum += HeapBytes(element);
  } else if (const auto* map = value.get_if<Value::Map>()) {
    sum = sizeof(Value::Map);
    for (const auto& [key, member] : *map) {
      sum += kMapNodeBytes + TextHeapBytes(key.capacity()) + HeapBytes(member);
    }
  }
  return sum;
}

}  // namespace

size_t MemoryBytes(const Value& value) { return sizeof(Value) + HeapBytes(value); }

}  // namespace snakepit
