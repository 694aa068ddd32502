// The brain of a pool: which call goes to which worker, and when a worker is started, asked to end
// or killed. A pure state machine: it is told what happened and what time it is, and answers with
// effects for others to carry out. No I/O, no threads, no clock of its own; not synchronised.
#ifndef SNAKEPIT_CORE_CORE_H_
#define SNAKEPIT_CORE_CORE_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "snakepit/error.h"
#include "snakepit/options.h"
#include "snakepit/stats.h"
#include "src/core/breaker.h"
#include "src/core/lifecycle.h"
#include "src/core/sessions.h"

namespace snakepit {

using CallId = uint64_t;
// Each process that a core starts has a number of its own, never used again by that core.
using ProcessNumber = uint64_t;

// Effects: what has to be done, in this order.
struct SpawnWorker {
  int worker_id;  // WorkerInfo::id
  ProcessNumber process;
};
struct DispatchCall {
  CallId call;
  ProcessNumber process;
  bool session_moved;  // CallInfo::session_moved
};
// A call that ends without an answer of its worker.
struct EndCall {
  enum class Why {
    kQueueTimeout,  // all but the last while it was queued: it is never dispatched
    kDeadlineExceeded,
    kCancelled,
    kShutdown,
    kBreakerOpen,
    kSessionLost,
    kWorkerLost,
  };
  CallId call;
  Why why;
  std::optional<ExitStatus> exit;  // how the worker that was lost ended; nothing: not known in time
};
// It is idle, or not ready yet: close its stdin, or send SIGTERM.
struct AskWorkerToEnd {
  ProcessNumber process;
};
// Why a process is killed.
enum class KillReason {
  kNotStarted,  // it was not ready in time, or cannot be used; ReportStartTimeout, or who told
                // the core so, has the details
  kSilent,      // it answered no health check
  kOutOfStep,   // it sent what the protocol does not allow
  kOverran,     // it went on with a call that was given up, and had no other call
  kConnectionClosed,  // it closed its connection, and did not end within kExitGrace
  kIgnoredEnd,        // it was asked to end, and did not within the stop grace
  kHadCalls,          // the pool ends, and its calls did not within the stop grace
};
struct KillWorker {
  ProcessNumber process;
  KillReason why;
};
// It was killed, and its exit was not reported within kKillLimit: a debugger or the kernel holds
// it, say. Nothing more is expected of it: it is as if it had ended.
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
  kUnhealthy,  // it said so often enough that it is not well
  kRestart,    // the user restarts all
  kSurplus,    // the user wants fewer
  kOverran,    // it went on with a call that was given up; its other calls go on
  kEnding,     // it refused a call, as it is ending
};
// For the log alone: the replacing of that process, which serves, has begun.
struct ReplaceWorker {
  ProcessNumber process;
  ReplaceReason why;
};
// It was not ready within the start time limit. KillWorker follows.
struct ReportStartTimeout {
  ProcessNumber process;
};
// Ask it whether it is well; HealthReported is to follow, within the health time limit.
struct CheckWorker {
  ProcessNumber process;
};
// Look how much memory it has; MemoryMeasured may follow.
struct MeasureWorker {
  ProcessNumber process;
};
// The session is forgotten, and this ready process holds its state: tell it. PROTOCOL.md 6.9.
struct EndWorkerSession {
  ProcessNumber process;
  std::string session_id;
};
using Effect =
    std::variant<SpawnWorker, DispatchCall, EndCall, AskWorkerToEnd, KillWorker, DisownProcess,
                 ReplaceWorker, ReportStartTimeout, CheckWorker, MeasureWorker, EndWorkerSession>;

// Why a call, or a restart, is not accepted.
enum class Refusal { kClosed, kBreakerOpen, kQueueFull, kSessionBusy, kSessionLost };

// What a call's transport says when it is through with the call.
enum class CallReport {
  kSucceeded,       // a result came
  kUnsent,          // it did not get as far as the worker
  kFailed,          // an error came, or the end of a call that was given up; it is in step
  kFailedOverran,   // given up, and not ended within the cancel grace; it is in step
  kFailedUnusable,  // out of step
  kRefused,         // not executed, as the worker is ending
  kLost,  // the connection closed: the core ends the call when it knows how the worker ended
};

// What came of a health check.
enum class HealthReport {
  kHealthy,
  kUnhealthy,
  kSilent,   // it did not answer in time: it is stopped, or hangs
  kLost,     // its connection is closed
  kUnknown,  // it lives: it has no such thing, or says, or shows, that it is too busy to answer
};

enum class RestartState { kNone, kRunning, kDone, kFailed };

class Core {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // A worker that closed its connection has this long to exit by itself, for its exit status to
  // tell why, before it is killed.
  static constexpr std::chrono::milliseconds kExitGrace{200};
  // A process that was sent SIGKILL has this long to be gone. More takes only one that a debugger
  // or the kernel holds: then the worker goes on without it.
  static constexpr std::chrono::milliseconds kKillLimit{5'000};
  // A call whose connection closed waits this long, but not past its deadline, for the exit of its
  // process to explain the loss.
  static constexpr std::chrono::milliseconds kExitReportLimit{2'000};
  // A worker that says so many times in a row that it is not well is replaced.
  static constexpr int kUnhealthyLimit = 3;

  struct CallSpec {
    std::string_view session_id;  // empty: no session
    Time queue_deadline;
    Time deadline;
    size_t bytes = 0;  // of its arguments, in memory
  };

  // One at a time of a worker's processes, and what is to become of the worker when that ends.
  struct Worker {
    int id = 0;
    WorkerState state = WorkerState::kBackingOff;
    bool is_surplus = false;    // it is not started again: it was replaced, or is one too many
    ProcessNumber process = 0;  // 0: none was started yet
    int capacity = 1;           // calls at a time, as the latest process that was ready said
    int in_flight = 0;          // from here on: of this process
    bool was_ready = false;
    bool has_served = false;           // whether it has answered a call
    bool was_asked_to_end = false;     // so that its end is no failure
    bool checks_while_busy = false;    // whether it can be asked for its health while it has calls
    bool is_checked = false;           // a health check is under way
    bool is_measured = false;          // its memory is being looked at
    std::optional<ReplaceReason> due;  // it is to be replaced
    KillReason kill_reason = {};       // why it is killed, or will be when its grace is over
    int unhealthy_in_a_row = 0;
    int64_t calls_started = 0;
    uint64_t last_dispatch = 0;
    Time ready_since{};
    Time idle_since{};
    int64_t rss_bytes = 0;           // as measured last; 0: not yet
    int64_t rss_baseline_bytes = 0;  // 0: not warm yet
    RecycleOptions limits;           // as drawn for it
    std::optional<Time> timer;       // of its state
    std::optional<Time> recycle_timer;
    std::set<CallId> waiting;  // queued calls of sessions that only it may serve
  };

  // The workers of one id: the one that is wanted, and while that is replaced its successor.
  struct Seat {
    int worker = -1;     // an index of workers()
    int successor = -1;  // that is not ready yet; -1: none
    int failures = 0;    // processes in a row that ended without having answered a call
    int64_t restarts = 0;
    int replace_failures = 0;  // successors in a row that did not start
    Time replace_not_before{};
  };

  struct Counts {
    int64_t restarts = 0;
    int64_t boot_failures = 0;
    int64_t crashes = 0;
    int64_t recycled = 0;
  };

  // Takes from the options what concerns it; they are valid, workers over 0. What is left to chance
  // follows from the seed.
  Core(const PoolOptions& options, uint64_t seed);

  // Starts every worker. To be called once, before all else.
  void Start(Time now);

  // A new call: its id, or why it is refused.
  tl::expected<CallId, Refusal> Submit(const CallSpec& spec, Time now);
  // Its caller gave the call up: a queued one ends. One that was dispatched goes on until its
  // transport reports, and one that has ended is not known any more: nothing happens.
  void Cancel(CallId call, Time now);
  // The transport is through with a call that was dispatched.
  void CallEnded(CallId call, CallReport report, Time now);

  // Its user ended the session. A call of it that is still queued then begins it anew.
  void EndSession(std::string_view session_id, Time now);

  // What became of a process. Ignored when that is not its worker's present one. `capacity` is how
  // many calls it takes at a time, over 0.
  void Ready(ProcessNumber process, int capacity, bool checks_while_busy, Time now);
  void Unusable(ProcessNumber process, Time now);
  void ConnectionLost(ProcessNumber process, Time now);
  void Exited(ProcessNumber process, ExitStatus status, Time now);
  void HealthReported(ProcessNumber process, HealthReport report, Time now);
  void MemoryMeasured(ProcessNumber process, int64_t rss_bytes, Time now);

  // Begins to replace every worker that is there now, unless that is under way; restart_state()
  // tells how it goes on.
  tl::expected<void, Refusal> Restart(Time now);
  // Wants so many workers from now on, over 0. Refused when it is closed.
  tl::expected<void, Refusal> Resize(int workers, Time now);

  // The time that NextWake() named has come.
  void Tick(Time now);
  // When Tick is to be called at the latest; nothing: not until another event.
  std::optional<Time> NextWake() const;

  // Refuses new calls from now on, and replaces no more workers.
  void Close();
  // Close, cancel what is queued, and end every worker; no process is started any more.
  void Stop(Time now);

  // Hands over the effects since the last call, in their order.
  void TakeEffects(std::vector<Effect>* effects);

  // Whether Close or Stop was called; whether Stop was.
  bool closed() const { return closed_; }
  bool stopping() const { return stopping_; }
  bool AllReady() const;
  bool AllGone() const;
  // Accepted calls that have not ended.
  size_t calls() const { return calls_.size(); }
  // Whether CallEnded is still to come: the call was dispatched, and its transport has not
  // reported.
  bool IsInFlight(CallId call) const;
  size_t queued() const { return queued_; }
  size_t queued_bytes() const { return queued_bytes_; }
  // When the call that has been queued for longest was submitted; nothing: none is queued.
  std::optional<Time> OldestQueued() const;
  size_t sessions() const { return sessions_.size(); }
  const Breaker& breaker() const { return breaker_; }
  RestartState restart_state() const { return restart_; }
  const Counts& counts() const { return counts_; }
  // Those of the seats, surplus ones, and gone ones that stand for nothing.
  const std::deque<Worker>& workers() const { return workers_; }
  // By worker id. As many as are wanted.
  const std::vector<Seat>& seats() const { return seats_; }
  // The worker whose living process that is, an index of workers(); -1 when it is none's.
  int WorkerOf(ProcessNumber process) const;

 private:
  struct Call {
    std::string session_id;
    uint64_t session_number = 0;       // SessionTable::Session::number
    bool is_first_of_session = false;  // submitted before any call of its session had ended
    Time submitted;
    Time queue_deadline;
    Time deadline;
    size_t bytes = 0;
    int worker = -1;     // -1: queued
    int waits_for = -1;  // the worker in whose `waiting` it is; -1: it is in queue_, or not queued
    ProcessNumber process = 0;
    bool lost = false;               // its connection closed; waits for the exit status
    Time lost_until{};               // how long it waits
    bool process_gone = false;       // its process ended, or was disowned, with the call in flight
    std::optional<ExitStatus> exit;  // how that ended
  };
  using Calls = std::unordered_map<CallId, Call>;
  // The id of a call, or one of those below.
  using Timer = std::pair<Time, uint64_t>;
  static constexpr uint64_t kWorkerTimer = uint64_t{1} << 62;   // + a worker: Worker::timer
  static constexpr uint64_t kRecycleTimer = uint64_t{2} << 62;  // + a worker
  static constexpr uint64_t kHealthTimer = uint64_t{3} << 62;
  static constexpr uint64_t kBreakerTimer = kHealthTimer + 1;
  static constexpr uint64_t kSessionTimer = kHealthTimer + 2;

  struct Route {
    enum class Kind { kDispatch, kQueue, kWait, kSessionBusy, kSessionLost };
    Kind kind;
    int worker = -1;  // to dispatch to, or to wait for
  };

  // Calls and sessions, in core.cc.
  void Enqueue(CallId id, Call& call, const Route& route);
  void Dequeue(CallId id, Call& call);
  void EndQueued(Calls::iterator call, EndCall::Why why, Time now);
  void EndAllQueued(EndCall::Why why, Time now);
  void QueuedCallExpired(Calls::iterator call, Time now);
  void EndLost(Calls::iterator call, Time now);
  SessionTable::Session* Erase(Calls::iterator call, Time now);
  void Dispatch(CallId id, Call& call, int worker);
  void DispatchQueued(Time now);
  CallId NextToRoute() const;
  Route RouteOf(const Call& call);
  std::optional<Route> RouteBySession(const Call& call, const SessionTable::Session& session) const;
  static bool IsLessLoaded(const Worker& a, const Worker& b);
  int LeastLoadedWorker() const;
  void Forgotten(std::vector<SessionTable::Session>* sessions);
  SessionTable::Session& UseSession(std::string_view id, Time now);
  SessionTable::Session& SessionOf(const Call& call);
  void Bind(SessionTable::Session* session, int worker, CallId except);
  bool Serves(const SessionTable::Session& session) const;
  bool IsLost(const SessionTable::Session& session) const;
  void ArmSessionTimer();
  void WaitingLeave(int worker, Time now);

  // Workers, in core_workers.cc.
  static bool Serves(const Worker& worker) {
    return worker.state == WorkerState::kReady || worker.state == WorkerState::kUnready;
  }
  static bool HasRoom(const Worker& worker);
  static bool HasSpareCapacity(const Worker& worker);
  Seat* SeatOf(const Worker& worker);
  bool IsOfItsSeat(int worker);
  bool IsOut() const;
  void ProcessGone(int worker, std::optional<ExitStatus> exit, WorkerEvent event, Time now);
  void Handle(int worker, WorkerEvent event, Time now);
  void GiveUp(int worker, KillReason why, Time now);
  void Act(int worker, WorkerAction action, Time now);
  void IdleIfSo(int worker, Time now);
  int AddWorker(int id);
  void Retire(int worker, Time now);
  bool MayStart() const;
  void StartOrHold(int worker, Time now);
  void StartHeld(Time now);
  void ProcessFailed(int worker, Time now);
  void Overran(int worker, Time now);
  void GiveSeatAway(int worker, ReplaceReason why, Time now);
  void Refused(int worker, Time now);
  void CloseBreaker(Time now);
  void ProbeNext(Time now);
  std::chrono::milliseconds BackOff(int failures);
  void DrawLimits(Worker* worker);
  void RecycleTimerFired(int worker, Time now);
  void MarkDue(Worker* worker, ReplaceReason why);
  void LookAtTotalMemory();
  void ReplaceNext(Time now);
  void HealthRound();
  void WorkerTimerFired(int worker, Time now);
  // What may follow from any change of a worker.
  void Settle(Time now);
  void SetTimer(std::optional<Time>* timer, uint64_t id, std::optional<Time> at);
  uint64_t Random();
  int64_t Draw(int64_t limit);

  const PoolOptions options_;
  uint64_t random_;
  std::deque<Worker> workers_;  // whose elements stay where they are
  std::vector<Seat> seats_;
  Breaker breaker_;
  ProcessNumber probe_ = 0;  // of the half-open breaker
  int replaced_ = -1;        // the worker that is being replaced: one at a time
  bool any_due_ = false;     // or there may be
  int starting_ = 0;         // workers that are
  bool any_held_ = false;    // a worker's start waits for that of another, or there may be such
  RestartState restart_ = RestartState::kNone;
  ProcessNumber restart_up_to_ = 0;  // the last of the processes that it replaces
  Counts counts_;

  SessionTable sessions_;
  std::vector<SessionTable::Session> forgotten_;  // empty but within a method
  Calls calls_;
  std::set<CallId> queue_;  // those that any worker may serve, in the order of submission
  size_t queued_ = 0;       // with those that wait for one worker
  size_t queued_bytes_ = 0;

  std::set<Timer> timers_;
  std::optional<Time> health_timer_;
  std::optional<Time> breaker_timer_;
  std::optional<Time> session_timer_;
  std::vector<Effect> effects_;
  CallId last_call_ = 0;
  ProcessNumber last_process_ = 0;
  uint64_t dispatches_ = 0;
  bool closed_ = false;
  bool stopping_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_CORE_H_
