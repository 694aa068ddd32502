// The core's words to the outside: the effects that others carry out, and why things end.
#ifndef SNAKEPIT_CORE_EFFECTS_H_
#define SNAKEPIT_CORE_EFFECTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "snakepit/error.h"

namespace snakepit {

using CallId = uint64_t;
// Each process that a core starts has its own number, which that core never uses again. 0: none.
using ProcessNumber = uint64_t;

struct SpawnWorker {
  int worker_id;  // WorkerInfo::id
  ProcessNumber process;
};
struct DispatchCall {
  CallId call;
  ProcessNumber process;
  bool session_moved;  // CallInfo::session_moved
};
// Ends a call that gets no answer from its worker.
struct EndCall {
  // All but kWorkerLost end a queued call, which is then never dispatched.
  enum class Why {
    kQueueTimeout,
    kDeadlineExceeded,
    kCancelled,
    kShutdown,
    kBreakerOpen,
    kSessionLost,
    kWorkerLost,
  };
  CallId call;
  Why why;
  std::optional<ExitStatus> exit;  // the lost worker's; nothing: not known in time
};
// Closes the worker's stdin, or sends SIGTERM. The worker is idle, or not ready yet.
struct AskWorkerToEnd {
  ProcessNumber process;
};
enum class KillReason {
  kNotStarted,        // not ready in time, or unusable. ReportStartTimeout or the caller of
                      // Core::Unusable has the details
  kSilent,            // answered no health check
  kOutOfStep,         // sent something that the protocol does not allow
  kOverran,           // went on with a call that was given up, and had no other call
  kConnectionClosed,  // closed its connection and did not exit within kExitGrace
  kIgnoredEnd,        // was asked to end and did not within the stop grace
  kHadCalls,          // the pool ends, and its calls did not end within the stop grace
};
struct KillWorker {
  ProcessNumber process;
  KillReason why;
};
// Gives up waiting for a killed process: its exit was not reported within kKillLimit. A debugger or
// the kernel may hold it. The core goes on as if the process had ended.
struct DisownProcess {
  ProcessNumber process;
};
// Why a worker that serves is replaced, or ended for good.
enum class ReplaceReason {
  kMaxAge,  // RecycleOptions, up to kTotalRss
  kMaxCalls,
  kRssGrowth,
  kMaxIdle,
  kTotalRss,
  kUnhealthy,  // reported itself unhealthy too often in a row
  kRestart,    // the user restarts all workers
  kSurplus,    // the user wants fewer workers
  kOverran,    // went on with a call that was given up; its other calls go on
  kEnding,     // refused a call because it is ending
};
// Tells the log alone that the replacement of this process, which serves, has begun.
struct ReplaceWorker {
  ProcessNumber process;
  ReplaceReason why;
};
// Tells the log alone that the process was not ready within the start timeout. KillWorker follows.
struct ReportStartTimeout {
  ProcessNumber process;
};
// Sends a health check. HealthReported has to follow within the health timeout.
struct CheckWorker {
  ProcessNumber process;
};
// Measures the process's resident memory. MemoryMeasured may follow.
struct MeasureWorker {
  ProcessNumber process;
};
// Tells a ready process that a session whose state it holds was forgotten. PROTOCOL.md 6.9.
struct EndWorkerSession {
  ProcessNumber process;
  std::string session_id;
};
using Effect =
    std::variant<SpawnWorker, DispatchCall, EndCall, AskWorkerToEnd, KillWorker, DisownProcess,
                 ReplaceWorker, ReportStartTimeout, CheckWorker, MeasureWorker, EndWorkerSession>;
using Effects = std::vector<Effect>;

// Why a call or a restart is not accepted.
enum class Refusal { kClosed, kBreakerOpen, kQueueFull, kSessionBusy, kSessionLost };

// A transport's report on a call that it is finished with.
enum class CallReport {
  kSucceeded,       // a result came
  kUnsent,          // the call never reached the worker
  kFailed,          // an error came, or the end of a call that was given up; the worker is in step
  kFailedOverran,   // given up, and not ended within the cancel grace; the worker is in step
  kFailedUnusable,  // the worker is out of step
  kRefused,         // not executed, because the worker is ending
  kLost,            // the connection closed. The core ends the call when it knows the exit status
};

// The result of a health check.
enum class HealthReport {
  kHealthy,
  kUnhealthy,
  kSilent,   // no answer in time: the worker is stopped, or hangs
  kLost,     // the connection is closed
  kUnknown,  // alive, but without health checks, or too busy to answer
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_EFFECTS_H_
