// A list that grows, for the guardian: without a constructor, an exception or the C++ library.
#ifndef SNAKEPIT_SRC_PROCESS_GUARDIAN_LIST_H_
#define SNAKEPIT_SRC_PROCESS_GUARDIAN_LIST_H_

#include <stddef.h>
#include <stdlib.h>

namespace snakepit {

// The guardian cannot keep its promises without memory. guardian_main.cc
[[noreturn]] void EndWithoutMemory();

// Of plain items.
template <typename T>
struct List {
  T* at;
  size_t count;
  size_t capacity;

  void Reserve(size_t wanted) {
    if (wanted <= capacity) return;
    while (capacity < wanted) capacity = capacity == 0 ? 16 : 2 * capacity;
    at = static_cast<T*>(realloc(at, capacity * sizeof(T)));
    if (at == nullptr) EndWithoutMemory();
  }

  void Add(const T& item) {
    Reserve(count + 1);
    at[count++] = item;
  }

  // The last one takes its place.
  void RemoveAt(size_t i) { at[i] = at[--count]; }
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_GUARDIAN_LIST_H_
