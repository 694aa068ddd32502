// What becomes of a process that a handler forks: it is not the worker. PROTOCOL.md 1.3.6.
#ifndef SNAKEPIT_SRC_WORKER_FORKED_H_
#define SNAKEPIT_SRC_WORKER_FORKED_H_

#include <string_view>

namespace snakepit {

// To be called once, by a process that begins to serve. `let_go` is called in each process that
// this one forks, before anything else runs there, and may do only what a signal handler may.
void PrepareForForks(void (*let_go)());

// Whether this process was forked by a worker that serves. From any thread.
bool IsForkedChild();

// Throws ForkedProcess in such a process. `what` names the caller.
void RequireWorkerProcess(std::string_view what);

// Ends such a process, which came back from the handler in which it was forked: by an exception or
// an error, if `error` is not empty. Nothing of the worker is run down: that is the worker's to do.
[[noreturn]] void LeaveForkedChild(std::string_view error);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_FORKED_H_
