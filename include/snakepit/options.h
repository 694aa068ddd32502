// PoolOptions: how a pool runs its workers. Every default fits a pool of a few workers that answer
// within seconds; set `adapter` and `workers`, and leave the rest alone unless a field says when to
// change it. Pool::Start checks every range and names the field that is out of it.
#ifndef SNAKEPIT_OPTIONS_H_
#define SNAKEPIT_OPTIONS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "snakepit/adapter.h"

namespace snakepit {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// The calls that wait for a worker.
struct QueueOptions {
  // Most calls that wait; one more is refused with QUEUE_FULL. 0: no call may wait, not even for
  // the end of a health check of a worker that takes no calls meanwhile. Leave it alone unless
  // callers would rather be refused early, or come in larger bursts.
  size_t max_calls = 1000;
  // Most bytes of memory that the arguments of the waiting calls take together; a call over it is
  // refused with QUEUE_FULL. The arguments of Execute are in memory only while it runs.
  size_t max_bytes = size_t{256} << 20;
  // Longest time that a call waits before it ends, unexecuted, with QUEUE_TIMEOUT: 0 ms to 24 h.
  std::chrono::milliseconds timeout{5'000};
};

// The calls of a session while the worker that holds its state is busy or gone. In the strict modes
// no call of a session ever runs where its state is not.
enum class Affinity {
  kHint,            // busy: another worker. Gone: the session moves (CallInfo::session_moved)
  kStrictQueue,     // busy: they wait for it. Gone: SESSION_LOST, until EndSession
  kStrictFailFast,  // busy: SESSION_BUSY, at once. Gone: SESSION_LOST, until EndSession
};

// "hint", "strict_queue" or "strict_fail_fast".
std::string_view AffinityName(Affinity affinity);

struct SessionOptions {
  Affinity affinity = Affinity::kHint;
  // Idle time after which a session is forgotten: 1 ms to 365 days. A session with a call that has
  // not ended stays.
  std::chrono::milliseconds idle_timeout{3'600'000};
  // Most sessions that the pool remembers: 1 or more. Beyond it, the least recently used are
  // forgotten first.
  size_t max_count = 100'000;
};

// Restarts of workers that ended. A worker that ends after it has answered a call is replaced at
// once; one that ends before is backed off from. Leave all of it alone unless starts of your worker
// are very expensive, or crashes are so common that the breaker opens although the pool is useful.
struct RestartOptions {
  // Wait before the next start of a worker that ended without having answered a call: 1 ms to
  // 24 h, and at most max_backoff. It doubles with each such end in a row. Each wait is shortened
  // by a random 0-50% (jitter).
  std::chrono::milliseconds initial_backoff{100};
  // Longest wait: 1 ms to 24 h.
  std::chrono::milliseconds max_backoff{10'000};
  // The breaker opens, and no worker is started any more, when too many processes ended within a
  // window. `burst` is for processes that never answered a call, `sustained` for all that ended
  // other than by the pool's wish. Both are counts for each worker: 1 to 1,000,000.
  int burst = 5;
  std::chrono::milliseconds burst_window{10'000};  // 1 ms to 24 h
  int sustained = 60;
  std::chrono::milliseconds sustained_window{600'000};  // 1 ms to 24 h
  // Time for which the breaker stays open: 1 ms to 24 h. Then one worker is started as a probe. The
  // probe closes the breaker when it has answered a call, or has been ready for burst_window; if it
  // ends before that, the breaker opens again.
  std::chrono::milliseconds breaker_cooldown{10'000};
};

// Health checks: the pool asks each worker regularly how it is.
//
// A worker that does not answer within `timeout`, and from which no chunk and no result came
// meanwhile, is killed and replaced; its calls end with WORKER_LOST. A worker that says it is not
// well, or answers with an error, gets no calls until it says otherwise, and is replaced when it
// has said so three times. A worker that says it is too busy to answer is left alone.
//
// A handler must therefore let its worker answer within `timeout`; a C function that holds Python's
// global lock for longer does not. A worker of protocol version 1 is checked only while it has no
// call, and gets none meanwhile: a hang in a call shows at the deadline of the call.
struct HealthOptions {
  // Time between two checks of a worker: 0 ms (never) to 24 h.
  std::chrono::milliseconds interval{30'000};
  // Longest time for an answer: 1 ms to 24 h. Raise it if handlers keep their worker from
  // answering.
  std::chrono::milliseconds timeout{10'000};
};

// Replacement of workers that have nothing wrong with them, against slow leaks and stale state.
// 0 in a field: never for that reason. Set one if your workers leak, fragment or go stale.
//
// Each process gets its own limits, 90-100% of these, so that workers which started together are
// not replaced together. One worker is replaced at a time: its successor is ready before it gets no
// more calls, and it finishes the calls that it has. Sessions whose state it holds are lost or
// move, as SessionOptions::affinity says.
struct RecycleOptions {
  // Longest time since the worker became ready: 0 ms (never) to 365 days.
  std::chrono::milliseconds max_age{0};
  // Most calls of one process: 0 or more.
  int64_t max_calls = 0;
  // Most resident memory, in bytes, over the amount after the first `warm_up_calls` calls (when a
  // model is loaded, say): 0 or more. Measured every HealthOptions::interval, which must not be 0
  // then.
  int64_t max_rss_growth_bytes = 0;
  int64_t warm_up_calls = 20;  // 0 or more
  // Longest time without a call, since the last one: 0 ms (never) to 365 days.
  std::chrono::milliseconds max_idle{0};
  // The memory budget of the pool: most resident bytes of all workers together, 0 or more. Over
  // it, the largest worker that has had its warm_up_calls is replaced. The processes that a worker
  // starts are not counted (CgroupLimits are for these), and no random part is taken off. Measured
  // as max_rss_growth_bytes is.
  int64_t max_total_rss_bytes = 0;
};

struct PoolOptions {
  // The command line of a worker, and the transport to it. The one field without a default.
  Adapter adapter;
  // The pool's name, for a program that has several: it begins the pool's log lines and the errors
  // that are the pool's own. One line of text, at most 64 bytes; may be empty.
  std::string name;
  // Number of workers that the pool keeps: 0 to 1,000. 0 stands for twice the usable processors.
  int workers = 0;
  // Most workers that start at the same time; the others wait for their turn. Starts are the most
  // expensive thing that workers do (a model is loaded, say). 0 or more; 0 stands for the usable
  // processors, and at least 2.
  int max_starting = 0;
  // Time limits from submission to the result, 1 ms to 24 h, for calls and for streams that do not
  // set CallOptions::timeout.
  std::chrono::milliseconds call_timeout{30'000};
  std::chrono::milliseconds stream_timeout{300'000};
  // Time that a worker gets to end when it is asked to, before it is killed: 0 ms to 24 h.
  std::chrono::milliseconds stop_grace{2'000};
  // Time that a worker gets to end a call that its caller gave up, or whose deadline passed, before
  // the worker is replaced: 0 ms to 24 h. PROTOCOL.md 6.6.
  std::chrono::milliseconds cancel_grace{2'000};
  QueueOptions queue;
  SessionOptions sessions;
  RestartOptions restart;
  HealthOptions health;
  RecycleOptions recycle;
  // Gets each message of the pool, and each line that a worker writes to stderr. It is called from
  // the pool's own thread, must not call the pool, and should not block. An exception out of it is
  // dropped. Each text is one line of UTF-8 that is safe to show on a terminal: control characters,
  // and others that change how text looks, are escaped (\n, \x1b, \u202e).
  std::function<void(LogLevel, std::string_view)> log;
  // True: the lines of workers are not escaped, for a log that escapes them itself or is never
  // shown.
  bool raw_worker_lines = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_OPTIONS_H_
