#include "src/core/fault.h"

#include <cstdio>
#include <cstdlib>

namespace snakepit {

[[gnu::weak]] void Fault(const std::string& what) {
  std::fprintf(stderr, "snakepit: fault of the core: %s\n", what.c_str());
  std::abort();
}

}  // namespace snakepit
