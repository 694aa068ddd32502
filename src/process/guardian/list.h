// A growing list for the guardian: without constructors, exceptions or the C++ library.
#ifndef SNAKEPIT_PROCESS_GUARDIAN_LIST_H_
#define SNAKEPIT_PROCESS_GUARDIAN_LIST_H_

#include <stddef.h>
#include <stdlib.h>

namespace snakepit {

// Ends everything: the guardian cannot keep its promises without memory. Defined in main.cc.
[[noreturn]] void EndWithoutMemory();

// A list of trivially copyable items.
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

  // The last item takes its place.
  void RemoveAt(size_t i) { at[i] = at[--count]; }
};

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_GUARDIAN_LIST_H_
