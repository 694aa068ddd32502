// Assertions of the fuzz targets, in force in every build.
#ifndef SNAKEPIT_FUZZ_CHECK_H_
#define SNAKEPIT_FUZZ_CHECK_H_

#include <cstdio>
#include <cstdlib>

// Ends the process, which libFuzzer records as a finding, unless the condition holds.
#define SNAKEPIT_CHECK(condition)                                                        \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)

#endif  // SNAKEPIT_FUZZ_CHECK_H_
