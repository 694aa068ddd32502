// Pool: worker processes in any language, kept alive, and calls, streams and sessions routed to
// them. All methods but the destructor may be called from any thread at any time.
#ifndef SNAKEPIT_POOL_H_
#define SNAKEPIT_POOL_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "snakepit/value.h"

namespace snakepit {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Times are at most 24 h, but session_ttl at most 365 days.
struct PoolOptions {
  Adapter adapter;
  // How many workers the pool keeps: 1 to 1,000. 0 stands for twice the usable processors.
  int workers = 0;
  // Calls that wait for a worker; one more is refused with QUEUE_FULL. 0: none may wait.
  size_t max_queued_calls = 1000;
  // How long a call may wait for a worker before it ends, unexecuted, with QUEUE_TIMEOUT.
  std::chrono::milliseconds queue_timeout{5'000};
  // From submission to the result, for calls and for streams that do not set their own.
  std::chrono::milliseconds call_timeout{30'000};
  std::chrono::milliseconds stream_timeout{300'000};
  // How long a worker that is asked to end may take before it is killed.
  std::chrono::milliseconds stop_grace{2'000};
  // How long a worker may go on with a call that was given up, because its caller did or because
  // its deadline passed, before the worker is replaced. PROTOCOL.md 6.6.
  std::chrono::milliseconds cancel_grace{2'000};
  // A session without a call for this long is forgotten; the least recently used are forgotten
  // first when there are more than max_sessions.
  std::chrono::milliseconds session_ttl{3'600'000};
  size_t max_sessions = 100'000;
  // A worker that ends after it has answered a call is replaced at once. One that ends before has
  // this wait before the next start; it doubles with each such end in a row, up to the maximum.
  std::chrono::milliseconds restart_backoff{100};
  std::chrono::milliseconds max_restart_backoff{10'000};
  // What the pool has to tell, and each line that a worker writes to stderr. Called from the
  // pool's own thread; must not call the pool, must not throw, and should not block.
  std::function<void(LogLevel, std::string_view)> log;
};

// The states of a worker. src/core/lifecycle.h has the table of their transitions.
enum class WorkerState {
  kBackingOff,  // no process; waits to be started (again)
  kStarting,    // the process is being started, or runs and is not ready
  kReady,       // takes calls
  kDraining,    // finishes the calls it has, takes no more
  kStopping,    // was asked to end, or has lost its connection; is killed when the grace is over
  kKilled,      // was sent SIGKILL; its exit is awaited
  kGone,        // ended, and is not replaced
};

// "ready" for kReady, and so on.
std::string_view WorkerStateName(WorkerState state);

struct WorkerInfo {
  int id = 0;  // stays the same across restarts: 0 to workers - 1
  WorkerState state = WorkerState::kStarting;
  pid_t pid = 0;              // 0 while there is no process
  int capacity = 1;           // calls that it takes at a time, as it said when it became ready
  int protocol_version = 1;   // 1 (legacy) or 2, as agreed when it became ready
  int calls_in_flight = 0;    // with those that were given up and that it has not ended yet
  int64_t calls_started = 0;  // across restarts
  int64_t restarts = 0;
  std::chrono::microseconds start_time{0};  // from the start of this process until it was ready
  int64_t rss_bytes = 0;                    // resident memory; 0 while there is no process
};

// What a worker says of itself. PROTOCOL.md 6.10.
struct WorkerHealth {
  bool healthy = false;
  std::string worker_id;  // as it calls itself
  std::chrono::milliseconds uptime{0};
  int64_t total_requests = 0;  // calls that have ended, failed ones too
  int64_t total_errors = 0;
  int calls_in_flight = 0;
  std::string version;  // of the worker's own software
};

struct PoolStats {
  int workers = 0;  // wanted
  int workers_ready = 0;
  size_t calls_queued = 0;
  int calls_in_flight = 0;  // with those that were given up and that their worker has not ended yet
  size_t sessions = 0;      // one that was not used for session_ttl counts until others are used
  int64_t calls_accepted = 0;
  int64_t calls_succeeded = 0;
  int64_t calls_failed = 0;  // of the accepted ones
  // Never accepted: the queue was full, the pool was closing, or CallOptions::stop was asked for
  // before. Input that cannot be right is not counted.
  int64_t calls_refused = 0;
  int64_t restarts = 0;
  std::string last_start_error;  // of the latest worker that failed to start; empty when none did
};

// What became of a call, beside its result.
struct CallInfo {
  int worker_id = -1;    // -1: it was never given to a worker
  pid_t worker_pid = 0;  // of that worker at that time
};

struct CallOptions {
  // From submission to the result, 1 ms to 24 h; the pool's default when absent.
  std::optional<std::chrono::milliseconds> timeout;
  // How long the call may wait for a worker; the pool's default when absent.
  std::optional<std::chrono::milliseconds> queue_timeout;
  // A stop asked for on its source, by any thread, gives the call up: it ends with CANCELLED at
  // once, and the worker is told. A call that still waits for a worker is never executed, and one
  // that is made after the stop is refused. A call that has ended is not changed by it. The thread
  // that asks must hold no lock that a callback of the call needs.
  std::stop_token stop;
  // Where to write which worker served the call, before it returns. May be null.
  CallInfo* info = nullptr;
};

struct Chunk {
  Value value;
  int64_t index = 0;   // from 0
  bool final = false;  // false on the last chunk, too, of a worker that marks the end separately
};

// Called for each chunk, on the thread that called ExecuteStream. Reading stops while it runs, so a
// slow callback slows the worker. false gives the stream up: the call ends with CANCELLED. What it
// throws gives the stream up too, and comes out of ExecuteStream.
using ChunkCallback = std::function<bool(const Chunk&)>;

class Pool {
 public:
  // Starts all workers at once and returns when all are ready. The first that fails to start fails
  // the whole, at once: INVALID_ARGUMENT, START_FAILED or START_TIMEOUT, with the reason (errno,
  // exit code or signal, the end of its stderr); nothing is left running.
  static Result<std::unique_ptr<Pool>> Start(PoolOptions options);

  // As Shutdown(). No other thread may be in a method of the pool.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Runs a command on one of the workers and returns its result. `args` is a map, or null for none.
  // The I/O happens on the calling thread. Every accepted call ends in exactly one outcome.
  Result<Value> Execute(std::string_view command, const Value& args,
                        const CallOptions& options = {});

  // Runs a command that answers in chunks, and returns how many there were. A command, or a worker,
  // that does not stream gives its one result as the only and final chunk.
  Result<int64_t> ExecuteStream(std::string_view command, const Value& args,
                                const ChunkCallback& on_chunk, const CallOptions& options = {});

  // The same within a session: 1 to 256 bytes of text. A session's calls go to one worker as long
  // as that is free (affinity `hint`); while it is busy or gone they go to another, except that a
  // new session's first call is waited for. The id reaches workers that know sessions.
  Result<Value> ExecuteInSession(std::string_view session_id, std::string_view command,
                                 const Value& args, const CallOptions& options = {});
  Result<int64_t> ExecuteInSessionStream(std::string_view session_id, std::string_view command,
                                         const Value& args, const ChunkCallback& on_chunk,
                                         const CallOptions& options = {});

  // Runs a command without waiting for it. `done` is called exactly once, from the pool's own
  // thread, should not block and must not throw; it may call Submit, but no method that waits. A
  // refusal comes by `done` too: after Shutdown on the caller's thread. `options.info`, if any,
  // must live until then.
  void Submit(std::string_view command, Value args, std::function<void(Result<Value>)> done,
              const CallOptions& options = {});

  // Says that no more calls of the session will come: the pool forgets it, and its worker is told.
  // A later call of that name begins a new session.
  void EndSession(std::string_view session_id);

  // Asks a worker (0 to workers - 1) how it is, also while it is busy: INVALID_ARGUMENT when there
  // is no such worker, UNAVAILABLE while it is not ready, UNIMPLEMENTED for one of protocol version
  // 1 on stdio, DEADLINE_EXCEEDED, WORKER_LOST. Not to be called from a callback of the pool.
  Result<WorkerHealth> CheckHealth(int worker_id,
                                   std::chrono::milliseconds timeout = std::chrono::seconds(5));

  PoolStats Stats() const;
  std::vector<WorkerInfo> Workers() const;

  // Takes no more calls, and returns when all accepted ones have ended: true, or false when that
  // was not so within the time limit. The workers stay until Shutdown.
  bool Drain(std::chrono::milliseconds timeout);

  // Takes no more calls, fails the queued ones with CANCELLED, asks the workers to end (they may
  // finish the call they have) and kills, with everything they started, those that take longer than
  // stop_grace. Returns when no process is left. Further calls of it do nothing. Not to be called
  // from a callback of the pool.
  void Shutdown();

 private:
  class Impl;
  explicit Pool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_H_
