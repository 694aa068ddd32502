// Pool: worker processes in any language, kept alive, and calls, streams and sessions routed to
// them. All methods but the destructor may be called from any thread at any time.
//
// A pool belongs to the process that started it. In a process that is forked from that one, every
// method fails at once with UNAVAILABLE, or returns nothing, and touches no descriptor; the
// destructor only forgets. Such a process can start a pool of its own; one on gRPC only if its
// parent has not used gRPC, else that is START_FAILED. A process that is forked within a callback
// of a pool must end within it, by _exit(2) or execve(2): it is aborted if it returns.
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

// What a session's calls do when the worker that holds its state is busy or gone. In the strict
// modes no call of a session ever runs where its state is not.
enum class Affinity {
  kHint,  // busy: they go to another worker. Gone: the session moves (CallInfo::session_moved)
  kStrictQueue,     // busy: they wait for it. Gone: SESSION_LOST, until EndSession
  kStrictFailFast,  // busy: SESSION_BUSY, at once. Gone: SESSION_LOST, until EndSession
};

// "hint", "strict_queue" or "strict_fail_fast".
std::string_view AffinityName(Affinity affinity);

// When a worker is replaced though nothing is wrong with it. 0: not for that reason. The limits of
// a process are drawn from nine tenths of these up to these, so that workers that were started
// together are not replaced together. One is replaced at a time: its replacement is ready before it
// gets no more calls, and it finishes those that it has. Sessions whose state it has are lost, or
// move, as affinity says. Times are at most 365 days.
struct RecycleOptions {
  std::chrono::milliseconds max_age{0};  // since it was ready
  int64_t max_calls = 0;
  // Over what it had after its first `warm_up_calls` calls, when its model is loaded, say. Looked
  // at every PoolOptions::health_interval.
  int64_t max_rss_growth_bytes = 0;
  int64_t warm_up_calls = 20;
  std::chrono::milliseconds max_idle{0};  // without a call, since its last one
  // Of all workers together, the budget of the pool: while they have more, the largest of those
  // that have had their warm_up_calls is replaced. Not drawn: it is as given. The processes that a
  // worker starts are not counted; CgroupLimits are for these.
  int64_t max_total_rss_bytes = 0;
};

// Times are at most 24 h, but session_ttl at most 365 days.
struct PoolOptions {
  Adapter adapter;
  // Of a program that has several pools: the pool's log lines, and the errors that are its own and
  // not a worker's, begin with it. One line of text, at most 64 bytes; may be empty.
  std::string name;
  // How many workers the pool keeps: 1 to 1,000. 0 stands for twice the usable processors.
  int workers = 0;
  // How many workers may be starting at a time, over 0; the others wait for their turn. Starts are
  // the most expensive thing that workers do (a model is loaded, say). 0 stands for the usable
  // processors, and at least 2.
  int max_starting = 0;
  // Calls that wait for a worker; one more is refused with QUEUE_FULL. 0: none may wait, not even
  // for the end of a health check of a worker that takes no calls meanwhile.
  size_t max_queued_calls = 1000;
  // The arguments of the calls that wait, together, as they are in memory; a call that would be
  // over it is refused with QUEUE_FULL. Those of Execute are in memory only while it runs.
  size_t max_queued_bytes = size_t{256} << 20;
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
  // How often each worker is asked whether it is well; 0: never. One that does not answer within
  // health_timeout, and from which no chunk and no result came meanwhile, is killed and replaced,
  // and its calls end with WORKER_LOST. One that says it is not well, or answers with an error,
  // gets no calls until it says otherwise, and is replaced when it said so three times; one that
  // says it is too busy to answer is left alone. So a handler must not keep its worker from
  // answering for longer (a C function that holds Python's global lock, say). A worker of protocol
  // version 1 is asked only while it has no call, and gets none meanwhile: that it hangs with a
  // call is seen at the deadline of the call.
  std::chrono::milliseconds health_interval{30'000};
  std::chrono::milliseconds health_timeout{10'000};
  Affinity affinity = Affinity::kHint;
  // A session without a call for this long is forgotten; the least recently used are forgotten
  // first when there are more than max_sessions. One with a call that has not ended stays.
  std::chrono::milliseconds session_ttl{3'600'000};
  size_t max_sessions = 100'000;
  RecycleOptions recycle;
  // A worker that ends after it has answered a call is replaced at once. One that ends before has
  // this wait before the next start; it doubles with each such end in a row, up to the maximum. Of
  // each wait up to a half is taken off by chance.
  std::chrono::milliseconds restart_backoff{100};
  std::chrono::milliseconds max_restart_backoff{10'000};
  // The breaker opens, and no worker is started any more, when more processes than this, times the
  // number of workers, ended within that time: without having answered a call (burst), and for
  // whatever reason but that the pool ended them (sustained). 1 to 1,000,000.
  int restart_burst = 5;
  std::chrono::milliseconds restart_burst_window{10'000};
  int restart_sustained = 60;
  std::chrono::milliseconds restart_sustained_window{600'000};
  // How long it stays open. Then one worker is started as a probe: it closes the breaker when it
  // has answered a call, or has been ready for restart_burst_window; if it ends before, the breaker
  // opens again.
  std::chrono::milliseconds breaker_cooldown{10'000};
  // What the pool has to tell, and each line that a worker writes to stderr. Called from the
  // pool's own thread; must not call the pool, and should not block. What it throws is dropped. A
  // text is one line of UTF-8, and safe to show on a terminal: control characters, and others that
  // change how text looks, are escaped in it (\n, \x1b, \u202e).
  std::function<void(LogLevel, std::string_view)> log;
  // The lines of workers are not escaped, for a log that does that itself or that is never shown.
  bool raw_worker_lines = false;
};

// The states of a worker. src/core/lifecycle.h has the table of their transitions.
enum class WorkerState {
  kBackingOff,  // no process; waits to be started (again)
  kStarting,    // the process is being started, or runs and is not ready
  kReady,       // takes calls
  kUnready,     // says that it is not well: gets no calls, and finishes those that it has
  kDraining,    // finishes the calls it has, takes no more
  kStopping,    // was asked to end, or has lost its connection; is killed when the grace is over
  kKilled,      // was sent SIGKILL; its exit is awaited
  kGone,        // ended, and is not replaced
};

// "ready" for kReady, and so on.
std::string_view WorkerStateName(WorkerState state);

// Whether workers that end are replaced.
enum class BreakerState {
  kClosed,  // yes
  kOpen,    // no: too many ended, one after the other. While no worker is ready, calls are refused
  kHalfOpen,  // one is started as a probe
};

// "closed", "open" or "half-open".
std::string_view BreakerStateName(BreakerState state);

struct WorkerInfo {
  // Stays the same across restarts: 0 to workers - 1. While a worker is being replaced, or is
  // surplus and finishes its calls, there is a second one of that id.
  int id = 0;
  WorkerState state = WorkerState::kStarting;
  pid_t pid = 0;             // 0 while there is no process
  int capacity = 1;          // calls that it takes at a time, as it said when it became ready
  int protocol_version = 1;  // 1 (legacy) or 2, as agreed when it became ready
  // Whether its streams come in chunks as they are made: a worker of version 2 with the feature
  // `stream`, or one of version 1 over gRPC. PROTOCOL.md 6.1.2 and 2.7.6.
  bool streams = false;
  bool sessions = false;      // whether it has the feature `session` of version 2
  int calls_in_flight = 0;    // with those that were given up and that it has not ended yet
  int64_t calls_started = 0;  // by this process
  int64_t restarts = 0;       // of this id
  std::chrono::microseconds start_time{0};  // from the start of this process until it was ready
  int64_t rss_bytes = 0;                    // resident memory; 0 while there is no process
};

// What a worker says of itself. PROTOCOL.md 6.10.
struct WorkerHealth {
  bool healthy = false;
  std::string worker_id;  // as it calls itself; this and `version` as Error::message: 256 bytes
  std::chrono::milliseconds uptime{0};
  int64_t total_requests = 0;  // calls that have ended, failed ones too
  int64_t total_errors = 0;
  int calls_in_flight = 0;
  std::string version;  // of the worker's own software
};

struct PoolStats {
  int workers = 0;  // wanted
  int workers_ready = 0;
  // The pool's own health: the calls that its ready workers take at a time, and those that all
  // wanted ones would. A worker that was not ready yet counts as one.
  int usable_capacity = 0;
  int wanted_capacity = 0;
  BreakerState breaker = BreakerState::kClosed;
  size_t calls_queued = 0;
  size_t bytes_queued = 0;                     // as max_queued_bytes counts
  std::chrono::milliseconds oldest_queued{0};  // how long the one that waits longest has waited
  int calls_in_flight = 0;  // with those that were given up and that their worker has not ended yet
  size_t sessions = 0;
  int64_t calls_accepted = 0;
  int64_t calls_succeeded = 0;
  int64_t calls_failed = 0;  // of the accepted ones
  // Never accepted: the queue was full, the pool was closing, the breaker open, the session lost or
  // busy, or CallOptions::stop was asked for before. Input that cannot be right is not counted.
  int64_t calls_refused = 0;
  int64_t restarts = 0;       // processes that were started in the place of one that had ended
  int64_t boot_failures = 0;  // processes that ended, or were given up, before they were ready
  int64_t crashes = 0;        // processes that ended, or were given up, after they were ready
  int64_t recycled = 0;       // processes that were replaced by RecycleOptions, Restart or by what
                              // they said of their health
  int64_t breaker_opened = 0;
  std::string last_start_error;  // of the latest worker that failed to start; empty when none did
};

// What became of a call, beside its result.
struct CallInfo {
  int worker_id = -1;    // -1: it was never given to a worker
  pid_t worker_pid = 0;  // of that worker at that time
  // The process that held the session's state is gone, and this call began the session anew on
  // another one (affinity `hint` only).
  bool session_moved = false;
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
  // Starts the workers, max_starting at a time, and returns when all are ready. The first that
  // fails to start fails the whole, at once: INVALID_ARGUMENT, START_FAILED or START_TIMEOUT, with
  // the reason (errno, exit code or signal, the end of its stderr); nothing is left running.
  static Result<std::unique_ptr<Pool>> Start(PoolOptions options);

  // As Shutdown(), but in a forked process. No other thread may be in a method of the pool.
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

  // The same within a session: 1 to 256 bytes of text. A session's calls go to the worker that had
  // its first one; PoolOptions::affinity says what they do when that is busy or gone. Calls made
  // before the first has ended agree with it on one worker, in every mode. The id reaches workers
  // that know sessions.
  Result<Value> ExecuteInSession(std::string_view session_id, std::string_view command,
                                 const Value& args, const CallOptions& options = {});
  Result<int64_t> ExecuteInSessionStream(std::string_view session_id, std::string_view command,
                                         const Value& args, const ChunkCallback& on_chunk,
                                         const CallOptions& options = {});

  // Runs a command without waiting for it. `done` is called exactly once, from the pool's own
  // thread, should not block, and may call Submit, but no method that waits. What it throws is
  // logged, and dropped. A refusal comes by `done` too: after Shutdown on the caller's thread.
  // `options.info`, if any, must live until then.
  void Submit(std::string_view command, Value args, std::function<void(Result<Value>)> done,
              const CallOptions& options = {});

  // Says that no more calls of the session will come: the pool forgets it, and its worker is told.
  // A later call of that name, or one that still waits, begins a new session.
  void EndSession(std::string_view session_id);

  // Asks a worker (0 to workers - 1) how it is, also while it is busy: INVALID_ARGUMENT when there
  // is no such worker, UNAVAILABLE while it is not ready or too busy to answer, UNIMPLEMENTED for
  // one of protocol version 1 on stdio, DEADLINE_EXCEEDED, HANDLER_FAILED when it answers with an
  // error, PROTOCOL_ERROR, WORKER_LOST. Not to be called from a callback of the pool.
  Result<WorkerHealth> CheckHealth(int worker_id,
                                   std::chrono::milliseconds timeout = std::chrono::seconds(5));

  // Replaces every worker, one after the other: each gets its successor ready before it takes no
  // more calls, and then finishes those that it has; sessions are lost, or move, as with recycling.
  // Returns when all that were there are gone.
  // START_FAILED, START_TIMEOUT: a successor did not start; no further worker is replaced, and
  // those there serve on. UNAVAILABLE: the breaker is open, or the pool takes no more calls.
  // DEADLINE_EXCEEDED: the time limit passed, and the replacing goes on. A second caller joins the
  // first. Not to be called from a callback of the pool.
  Result<void> Restart(std::chrono::milliseconds timeout = std::chrono::minutes(10));

  // Changes the number of workers, 1 to 1,000, and returns at once: those that are missing start;
  // surplus ones, of the highest ids, finish the calls that they have and end. INVALID_ARGUMENT;
  // UNAVAILABLE when the pool takes no more calls.
  Result<void> Resize(int workers);

  // In a forked process: nothing but last_start_error, which says so.
  PoolStats Stats() const;
  // The workers of the ids 0 to workers - 1, in that order, and then those that are being replaced
  // or are surplus, and successors that are not ready yet.
  std::vector<WorkerInfo> Workers() const;

  // Takes no more calls, and returns when all accepted ones have ended: true, or false when that
  // was not so within the time limit. The workers stay until Shutdown.
  bool Drain(std::chrono::milliseconds timeout);

  // Takes no more calls, fails the queued ones with CANCELLED, asks the workers to end (they may
  // finish the call they have) and kills, with everything they started, those that take longer than
  // stop_grace. Returns when no process is left, or when those that are cannot be ended, as a
  // debugger or the kernel holds them: at the latest 20 s after twice the stop_grace, if no
  // callback of the user is running then. Further calls of it do nothing. Not to be called from a
  // callback of the pool.
  void Shutdown();

 private:
  class Impl;
  explicit Pool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_H_
