// What there is to say and to do where the system may have no thread or process to give.
#ifndef SNAKEPIT_SRC_BASE_THREADS_H_
#define SNAKEPIT_SRC_BASE_THREADS_H_

#include <string>

#include "snakepit/error.h"

namespace snakepit {

// For the end of the message of an errno that fork(2), clone(2), an allocation or the start of a
// thread gave: which limits there are, or nothing when it is not for a limit.
std::string ProcessLimitAdvice(int error_number);

// Whether this process can start so many threads at a time, each with a stack of the usual size,
// and has memory for them: starts and ends them. INTERNAL, with the advice, when it cannot. Where
// its address space is limited to so little that a heap for each thread does not fit, it has its
// threads share their heaps from then on (mallopt(3), M_ARENA_MAX).
Result<void> TryThreads(int count);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_THREADS_H_
