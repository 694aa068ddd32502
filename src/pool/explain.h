// The texts of a pool: why a call was refused or ended, why a worker is killed or replaced. Pure
// functions of the core's state; they take no lock and log nothing.
#ifndef SNAKEPIT_POOL_EXPLAIN_H_
#define SNAKEPIT_POOL_EXPLAIN_H_

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "snakepit/error.h"
#include "snakepit/options.h"
#include "src/core/core.h"

namespace snakepit {

// "200 ms", in whole milliseconds.
std::string Milliseconds(std::chrono::nanoseconds time);

// "pool NAME: ", or nothing for a pool without a name. It begins the pool's own errors.
std::string PoolPrefix(const PoolOptions& options);

// The state of a pool at one moment.
struct PoolState {
  const Core& core;
  const PoolOptions& options;
  const std::optional<Error>& last_start_error;
  Core::Time now;
};

// A process of a worker, as far as texts tell of it.
struct ProcessAccount {
  std::string name;         // "worker 0 (pid 77)"
  std::string kill_reason;  // empty: the pool did not kill it
  std::string stderr_tail;
};

// Wait so far of the call that has been queued for longest; 0: none is queued.
std::chrono::milliseconds OldestQueued(const Core& core, Core::Time now);

// The queue and the workers: "3 of 1000 calls queued (...); the workers are 1 ready (...)".
std::string QueueText(const PoolState& state);

// Why the breaker starts no worker, and when it will try one.
std::string BreakerText(const PoolState& state);

// The log line of a change of the breaker's state.
std::pair<LogLevel, std::string> BreakerNews(const PoolState& state);

// The outcome of a call that was not accepted.
Error RefusalError(Refusal refusal, const PoolState& state);

// The outcome of a call that ended without an answer. `process`: the one that had the call; only
// used, and then needed, for kWorkerLost.
Error EndError(const EndCall& end, const PoolState& state, const ProcessAccount& process);

// The outcome of a call that a worker refused because it is ending. PROTOCOL.md 1.4.8.
Error RefusedAsEndingError(const PoolOptions& options, std::string_view process_name);

// The pool's account of a loss, with what the transport saw of it (a half frame, say).
Error WithTransportError(Error error, const Error& seen);

// The text after "is killed: " and after "as ". `fault`: what a call or a health check found wrong
// with the process; may be empty.
std::string KillText(KillReason why, std::string_view fault, const PoolOptions& options);

// The text after the description of how a process ended: why the pool killed it, or that another
// did.
std::string KilledByText(const ExitStatus& status, std::string_view kill_reason);

// The text after a worker's name, for the log.
std::pair<LogLevel, std::string_view> ReplaceText(ReplaceReason why);

// Why a health check makes the pool kill a worker: it gave no answer, or a wrong one.
std::string SilenceText(const Error& error, std::string_view secret, const PoolOptions& options);

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_EXPLAIN_H_
