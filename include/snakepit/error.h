// Errors are data: one type, with a code from a closed list, for everything that can go wrong.
// All types here are plain values: safe to copy, and to use from any thread that owns its copy.
#ifndef SNAKEPIT_ERROR_H_
#define SNAKEPIT_ERROR_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace snakepit {

// The kind of a fault. The same fault has the same code on every transport. PROTOCOL.md 5.1.
enum class ErrorCode {
  kInvalidArgument,  // the caller's input cannot be right: arguments, options, an unencodable value
  kUnimplemented,    // the worker has no such command, or cannot do it this way
  kHandlerFailed,    // the command ran and reported an error
  kDeadlineExceeded,  // the call's own time limit passed
  kCancelled,         // the caller, or the shutdown of the pool, gave the call up
  kQueueFull,         // the queue had no room: the call was refused
  kQueueTimeout,      // no worker came free within the queue time limit: the call was not executed
  kUnavailable,       // the pool takes no calls: it drains, is shut down, or its breaker is open
  kStartFailed,       // a worker could not be started, or ended before it was ready
  kStartTimeout,      // a worker was not ready within its start time limit
  kWorkerLost,        // the worker ended, or closed its connection, while it had the call
  kProtocolError,     // the worker sent what the protocol does not allow
  kMessageTooLarge,   // a message is over the size limit of its transport, or decoded over that of
                      // Adapter::max_decoded_bytes
  kSessionBusy,       // the session's worker has no room (affinity strict_fail_fast): not executed
  kSessionLost,       // the worker with the session's state is gone (strict modes): not executed
  kInternal,          // a fault of this library or of the operating system
};

// "DEADLINE_EXCEEDED" for kDeadlineExceeded, and so on.
std::string_view ErrorCodeName(ErrorCode code);

// The code of that name, or nothing when there is none.
std::optional<ErrorCode> ErrorCodeFromName(std::string_view name);

// The end of a process: by exit(code), or by a signal (then `signal` is over 0). wait(2).
struct ExitStatus {
  int code = 0;
  int signal = 0;

  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

// "exit code 3", or "signal 9 (Killed)".
std::string Describe(const ExitStatus& status);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  // A text for people, without the code, in one line that is safe to show on a terminal. A worker's
  // words are cut after 64 KiB ("… [123 bytes more]"). Control characters, and others that change
  // how text looks, are escaped (\n, \x1b, \u202e).
  std::string message;

  // The detail, as far as it applies.
  int worker_id = -1;              // -1: no worker was involved
  std::optional<ExitStatus> exit;  // the worker's end
  std::string stderr_tail;         // the end of what the worker wrote to stderr, at most 4 KiB of
                                   // UTF-8, nothing escaped
  bool may_have_run = false;       // true if the command may have been executed, wholly or in part

  // "WORKER_LOST: worker 2 (pid 77) ended by signal 9 (Killed)".
  std::string ToString() const;
};

template <typename T>
using Result = tl::expected<T, Error>;

// `return Fail(ErrorCode::kInvalidArgument, "…")` in a function that returns any Result.
inline tl::unexpected<Error> Fail(ErrorCode code, std::string message) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  return tl::unexpected<Error>(std::move(error));
}

inline tl::unexpected<Error> Fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

}  // namespace snakepit

#endif  // SNAKEPIT_ERROR_H_
