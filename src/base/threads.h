// Checks and advice for a system that may have no thread or process left to give.
#ifndef SNAKEPIT_BASE_THREADS_H_
#define SNAKEPIT_BASE_THREADS_H_

#include <string>

#include "snakepit/error.h"

namespace snakepit {

// The end of an error message: the limits behind an errno of fork(2), clone(2), an allocation or
// the start of a thread. Empty if no limit explains it.
std::string ProcessLimitAdvice(int error_number);

// Starts and ends so many threads at a time, each with a stack of the usual size, to see if this
// process can, and has memory for them. INTERNAL, with the advice, if not. If the address space is
// too limited for a heap for each thread, the process's threads share their heaps from then on
// (mallopt(3), M_ARENA_MAX).
Result<void> TryThreads(int count);

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_THREADS_H_
