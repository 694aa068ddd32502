// The brain of a pool: which call goes to which worker, and when a worker is started, asked to end
// or killed. A pure state machine: it is told what happened and what time it is, and answers with
// effects for others to carry out. No I/O, no threads, no clock of its own; not synchronised.
#ifndef SNAKEPIT_CORE_CORE_H_
#define SNAKEPIT_CORE_CORE_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "snakepit/error.h"
#include "snakepit/pool.h"
#include "src/core/lifecycle.h"
#include "src/core/sessions.h"

namespace snakepit {

using CallId = uint64_t;
// Each process that a core starts has a number of its own, never used again by that core.
using ProcessNumber = uint64_t;

// Effects: what has to be done, in this order.
struct SpawnWorker {
  int worker;
  ProcessNumber process;
};
struct DispatchCall {
  CallId call;
  int worker;
};
// A call that ends without an answer of its worker.
struct EndCall {
  enum class Why {
    kQueueTimeout,  // these four while it was queued: it is never dispatched
    kDeadlineExceeded,
    kCancelled,
    kShutdown,
    kWorkerLost,
  };
  CallId call;
  Why why;
  int worker = -1;                 // of a lost worker
  std::optional<ExitStatus> exit;  // how it ended
};
// It is idle, or not ready yet: close its stdin, or send SIGTERM.
struct AskWorkerToEnd {
  int worker;
};
struct KillWorker {
  int worker;
};
// It was not ready within the start time limit. KillWorker follows.
struct ReportStartTimeout {
  int worker;
};
// The session is forgotten, and this ready process holds its state: tell it. PROTOCOL.md 6.9.
struct EndWorkerSession {
  int worker;
  ProcessNumber process;
  std::string session_id;
};
using Effect = std::variant<SpawnWorker, DispatchCall, EndCall, AskWorkerToEnd, KillWorker,
                            ReportStartTimeout, EndWorkerSession>;

// What a call's transport says when it is through with the call.
enum class CallReport {
  kSucceeded,       // a result came
  kFailed,          // an error came, or the end of a call that was given up; it is in step
  kFailedUnusable,  // given up: the worker may still be at it, or is out of step
  kLost,  // the connection closed: the core ends the call when it knows how the worker ended
};

class Core {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // A worker that closed its connection has this long to exit by itself, for its exit status to
  // tell why, before it is killed.
  static constexpr std::chrono::milliseconds kExitGrace{200};

  struct CallSpec {
    std::string_view session_id;  // empty: no session
    Time queue_deadline;
    Time deadline;
  };

  struct Worker {
    WorkerState state = WorkerState::kBackingOff;
    ProcessNumber process = 0;  // 0: none was started yet
    int capacity = 1;           // calls at a time, as the latest process that was ready said
    int in_flight = 0;          // calls of this process
    bool has_served = false;    // whether this process has answered a call
    int failures = 0;           // processes in a row that ended without having answered a call
    uint64_t last_dispatch = 0;
    int64_t calls_started = 0;
    int64_t restarts = 0;
    std::optional<Time> timer;
  };

  // Takes from the options what concerns it; they are valid, workers over 0.
  explicit Core(const PoolOptions& options);

  // Starts every worker. To be called once, before all else.
  void Start(Time now);

  // A new call: its id, or kQueueFull or kUnavailable when it is refused.
  tl::expected<CallId, ErrorCode> Submit(const CallSpec& spec, Time now);
  // Its caller gave the call up: a queued one ends. One that was dispatched goes on until its
  // transport reports, and one that has ended is not known any more: nothing happens.
  void Cancel(CallId call);
  // The transport is through with a call that was dispatched.
  void CallEnded(CallId call, CallReport report, Time now);

  // Its user ended the session. A call of it that is still queued then begins it anew.
  void EndSession(std::string_view session_id);

  // What became of a process. Ignored when that is not its worker's present one. `capacity` is how
  // many calls it takes at a time, over 0.
  void Ready(ProcessNumber process, int capacity, Time now);
  void Unusable(ProcessNumber process, Time now);
  void ConnectionLost(ProcessNumber process, Time now);
  void Exited(ProcessNumber process, ExitStatus status, Time now);

  // The time that NextWake() named has come.
  void Tick(Time now);
  // When Tick is to be called at the latest; nothing: not until another event.
  std::optional<Time> NextWake() const;

  // Refuses new calls from now on.
  void Close() { closed_ = true; }
  // Close, cancel what is queued, and end every worker; no process is started any more.
  void Stop(Time now);

  // Hands over the effects since the last call, in their order.
  void TakeEffects(std::vector<Effect>* effects);

  // Whether Stop was called.
  bool stopping() const { return stopping_; }
  bool AllReady() const;
  bool AllGone() const;
  // Accepted calls that have not ended.
  size_t calls() const { return calls_.size(); }
  // Whether CallEnded is still to come: the call was dispatched, and its transport has not
  // reported.
  bool IsInFlight(CallId call) const;
  size_t queued() const { return queue_.size(); }
  size_t sessions() const { return sessions_.size(); }
  const std::vector<Worker>& workers() const { return workers_; }
  // The worker whose living process that is; -1 when it is none's.
  int WorkerOf(ProcessNumber process) const;

 private:
  struct Call {
    std::string session_id;
    bool is_first_of_session = false;  // submitted before any call of its session had ended
    Time queue_deadline;
    Time deadline;
    int worker = -1;  // -1: queued
    ProcessNumber process = 0;
    bool lost = false;               // its connection closed; waits for the exit status
    std::optional<ExitStatus> exit;  // of its process, which ended with the call in flight
  };
  using Calls = std::unordered_map<CallId, Call>;
  using Timer = std::pair<Time, uint64_t>;  // the id of a call, or kWorkerTimer + a worker

  static constexpr uint64_t kWorkerTimer = uint64_t{1} << 63;

  void Handle(int worker, WorkerEvent event, Time now);
  void Act(int worker, WorkerAction action, Time now);
  void SetWorkerTimer(int worker, std::optional<Time> at);
  void WorkerTimerFired(int worker, Time now);
  void QueuedCallExpired(CallId call);
  void EndQueued(Calls::iterator call, EndCall::Why why);
  void Forgotten(SessionTable::Session&& session);
  std::chrono::milliseconds BackOff(const Worker& worker) const;

  int WorkerFor(const Call& call);
  static bool IsLessLoaded(const Worker& a, const Worker& b);
  int LeastLoadedWorker() const;
  bool HasRoom(const Worker& worker) const;
  bool Holds(const SessionTable::Session& session) const;
  SessionTable::Session& UseSession(std::string_view id, Time now);
  void Dispatch(CallId id, Call& call, int worker, Time now);
  void DispatchQueued(Time now);
  void Leave(Calls::iterator call, Time now);
  void EndLost(Calls::iterator call);

  const PoolOptions options_;
  std::vector<Worker> workers_;
  SessionTable sessions_;
  Calls calls_;
  std::set<CallId> queue_;  // in the order of submission
  std::set<Timer> timers_;
  std::vector<Effect> effects_;
  std::vector<SessionTable::Session> forgotten_;  // empty but within a method
  CallId last_call_ = 0;
  ProcessNumber last_process_ = 0;
  uint64_t dispatches_ = 0;
  bool closed_ = false;
  bool stopping_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_CORE_H_
