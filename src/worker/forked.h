// Keeps a process that a handler forks from acting as the worker. PROTOCOL.md 1.3.6.
#ifndef SNAKEPIT_WORKER_FORKED_H_
#define SNAKEPIT_WORKER_FORKED_H_

#include <string_view>

namespace snakepit {

// A process that begins to serve calls it once. `let_go` runs first in each process that this one
// forks, and may do only what a signal handler may.
void PrepareForForks(void (*let_go)());

// True if a worker that serves has forked this process. From any thread.
bool IsForkedChild();

// Throws ForkedProcess in such a process. `what` names the function.
void RequireWorkerProcess(std::string_view what);

// Ends such a process, which has returned from the handler that forked it: by an exception or an
// error, if `error` is not empty. Leaves the worker's state alone: only the worker may end it.
[[noreturn]] void LeaveForkedChild(std::string_view error);

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_FORKED_H_
