// The scheduler of a pool: calls from their submission to their end, and the sessions that they
// belong to. It queues calls, routes them and dispatches them to workers. A pure state machine: it
// sees each worker only as a WorkerView, and it answers with effects.
//
// Invariants, after each method of Core:
// - Each accepted call is queued, in flight, or lost and waiting for an exit status. It has one
//   outcome: its end is reported by its transport, or by one EndCall.
// - `in_flight` of a worker's view is the number of calls that its present process has.
// - No call is queued that a worker has room for.
// - Each queued call has a timer, at the earlier of its two deadlines; each lost call has one too.
// - A session with an open call is known, and bound to one process or to none.
#ifndef SNAKEPIT_CORE_SCHEDULER_H_
#define SNAKEPIT_CORE_SCHEDULER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "snakepit/error.h"
#include "snakepit/options.h"
#include "src/core/call_queue.h"
#include "src/core/effects.h"
#include "src/core/router.h"
#include "src/core/sessions.h"
#include "src/core/timers.h"
#include "src/core/worker_view.h"

namespace snakepit {

class Scheduler {
 public:
  // Longest time that a call whose connection closed waits for the exit status that explains the
  // loss. It never waits past its deadline.
  static constexpr std::chrono::milliseconds kExitReportLimit{2'000};

  struct CallSpec {
    std::string_view session_id;  // empty: no session
    SteadyTime queue_deadline;
    SteadyTime deadline;
    size_t bytes = 0;  // its arguments' size in memory
  };

  // The options must outlive the scheduler, like the rest.
  Scheduler(const PoolOptions& options, WorkerBoard* board, Timers* timers, Effects* effects);

  // A call that was accepted, and the worker that it was dispatched to; kNoWorker: it is queued.
  struct Accepted {
    CallId call;
    WorkerIndex worker;
  };
  // `is_out`: no worker serves, nor will one soon, so no call may wait.
  tl::expected<Accepted, Refusal> Submit(const CallSpec& spec, bool is_out, SteadyTime now);

  // Ends the call if it is queued, and returns the worker that it waited for. kNoWorker: it was in
  // the common queue, or is not queued.
  WorkerIndex Cancel(CallId call, SteadyTime now);

  // Takes the transport's report on a call in flight. Returns the worker, if the process that had
  // the call is still present, else kNoWorker. A lost call of a present process goes on: it waits
  // for ProcessGone.
  WorkerIndex CallEnded(CallId call, CallReport report, SteadyTime now);

  // Forgets a session; its queued calls begin it anew. Returns the worker that it was bound to, or
  // kNoWorker. Nothing: the session is not known.
  std::optional<WorkerIndex> EndSession(std::string_view session_id, SteadyTime now);

  // The worker's process has ended, as `exit` says, or was disowned. Its lost calls end now; its
  // other calls end when their transport notices.
  void ProcessGone(WorkerIndex worker, std::optional<ExitStatus> exit, SteadyTime now);
  // The worker is in another state: its queued calls may have to go elsewhere, or nowhere.
  void StateChanged(WorkerIndex worker, SteadyTime now);
  // The calls in the worker's queue cannot go to it any more. They end with SESSION_LOST, or go to
  // the common queue, as the affinity says.
  void ReleaseQueueOf(WorkerIndex worker, SteadyTime now);

  // The result of one step of RouteNext. kNoWorker: nothing to tell.
  struct Routed {
    WorkerIndex dispatched_to = kNoWorker;
    WorkerIndex left = kNoWorker;  // a queued call of this worker has ended
  };
  // Takes up the next queued call that a worker has room for. Nothing: there is none.
  std::optional<Routed> RouteNext(SteadyTime now);
  // Ends the calls in the common queue: no worker serves, nor will one soon.
  void EndCommonQueue(EndCall::Why why, SteadyTime now);

  // A call's timer fired. Returns the worker that the call waited for, or kNoWorker.
  WorkerIndex CallTimerFired(CallId call, SteadyTime now);
  void SessionTimerFired(SteadyTime now);

  // Ends all queued calls. No call may be submitted from now on.
  void Stop(SteadyTime now);

  // Accepted calls that have not ended.
  size_t calls() const { return calls_.size(); }
  // True if CallEnded is still to come: the call was dispatched and its transport has not reported.
  bool IsInFlight(CallId call) const;
  size_t queued() const { return queue_.size(); }
  size_t queued_bytes() const { return queue_.bytes(); }
  // Submission time of the call that has been queued for longest; nothing: none is queued.
  std::optional<SteadyTime> OldestQueued() const;
  size_t sessions() const { return sessions_.size(); }

 private:
  struct Call {
    std::string session_id;
    uint64_t session_number = 0;  // SessionTable::Session::number; 0: no session
    Router::Place place;
    SteadyTime submitted;
    SteadyTime queue_deadline;
    SteadyTime deadline;
    size_t bytes = 0;
    WorkerIndex worker = kNoWorker;  // kNoWorker: queued
    ProcessNumber process = 0;
    bool lost = false;               // its connection closed; it waits for the exit status
    SteadyTime lost_until{};         // end of that wait
    bool process_gone = false;       // its process ended, or was disowned, with the call in flight
    std::optional<ExitStatus> exit;  // that process's

    SteadyTime expiry() const { return queue_deadline < deadline ? queue_deadline : deadline; }
  };
  using Calls = std::unordered_map<CallId, Call>;

  void Dispatch(CallId id, Call& call, WorkerIndex worker);
  // Takes the call out of its queue, and removes its timer.
  void Dequeue(CallId id, Call& call);
  WorkerIndex EndQueued(Calls::iterator call, EndCall::Why why, SteadyTime now);
  WorkerIndex Expire(Calls::iterator call, SteadyTime now);
  void EndLost(Calls::iterator call, SteadyTime now);
  SessionTable::Session* Erase(Calls::iterator call, SteadyTime now);

  SessionTable::Session& UseSession(std::string_view id, SteadyTime now);
  SessionTable::Session* SessionOf(const Call& call);
  void Bind(SessionTable::Session* session, WorkerIndex worker, CallId except);
  void TellForgotten();

  const PoolOptions& options_;
  WorkerBoard& board_;
  Timers& timers_;
  Effects& effects_;
  Router router_;
  CallQueue queue_;
  Calls calls_;
  CallId last_call_ = 0;
  uint64_t dispatches_ = 0;
  SessionTable sessions_;
  std::vector<SessionTable::Session> forgotten_;  // empty except within a method
  std::optional<SteadyTime> session_timer_;
  bool stopping_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_SCHEDULER_H_
