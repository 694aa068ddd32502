// The decisions that the core has to make about calls, as a slow and obvious model: it looks at
// every queued call and every worker, each time. Of the workers it knows what a bystander sees:
// their states. Not synchronised.
#ifndef SNAKEPIT_CORE_SIMULATION_MODEL_H_
#define SNAKEPIT_CORE_SIMULATION_MODEL_H_

#include <array>
#include <cstdint>
#include <vector>

#include "snakepit/options.h"
#include "snakepit/stats.h"
#include "src/core/core.h"

namespace snakepit::simulation {

using Time = Core::Time;

// A process that has not ended.
struct Process {
  ProcessNumber number = 0;
  int id = 0;
  WorkerState state = WorkerState::kStarting;  // its worker's
  WorkerIndex order{0};                        // decides among equal workers
  int capacity = 1;
  int in_flight = 0;
  uint64_t last_dispatch = 0;
  bool checks_while_busy = false;
  bool is_checked = false;
  bool is_measured = false;
  bool is_ready = false;
  bool is_asked = false;
  bool is_killed = false;
  Time killed_at{};
  bool is_closed = false;  // its connection is closed
  bool is_ending = false;  // has refused a call
  bool has_served = false;

  bool Serves() const { return state == WorkerState::kReady || state == WorkerState::kUnready; }
  bool HasSpareCapacity() const {
    return in_flight + (is_checked && !checks_while_busy ? 1 : 0) < capacity;
  }
  bool HasRoom() const { return state == WorkerState::kReady && HasSpareCapacity(); }
};

struct Call {
  CallId id = 0;
  int session = -1;
  bool is_first = false;  // the first of its session
  bool is_fresh = false;  // submitted in this step
  size_t bytes = 0;
  Time submitted;
  Time queue_deadline;
  Time deadline;
  ProcessNumber process = 0;  // 0: queued
  bool is_lost = false;       // its transport said so; waits for the exit of its process
  Time lost_until{};          // end of that wait
  bool process_ended = false;
  bool is_explained = false;  // its process ended, and was not disowned

  Time expiry() const { return queue_deadline < deadline ? queue_deadline : deadline; }
};

struct Session {
  bool is_known = false;
  int open_calls = 0;
  Time last_used;
  uint64_t last_use = 0;  // the order of uses
  ProcessNumber owner = 0;
  bool is_established = false;
  uint64_t number = 0;
};

class Model {
 public:
  static constexpr int kSessions = 5;

  explicit Model(const PoolOptions& options) : options_(options) {}

  // The refusal that Core::Submit has to give; nothing: it has to accept the call.
  std::optional<Refusal> RefusalOf(const Call& call, BreakerState breaker, Time now);
  // The call was accepted: to the queue, from where NextDispatch may take it at once.
  void Accept(Call call, Time now);

  // The dispatch that has to be next; process 0: none.
  struct Dispatch {
    CallId call = 0;
    ProcessNumber process = 0;
    bool session_moved = false;
  };
  Dispatch NextDispatch(Time now) const;
  void Dispatched(const Dispatch& dispatch);

  // A call has ended, one way or another. `has_begun`: its worker is known to have had it.
  void Ended(CallId id, bool has_begun, Time now);
  void EndSession(int session, Time now);

  // True if the call is queued for a session whose state is gone; a call must not be.
  bool IsOfLostSession(const Call& call) const;
  // True if the call waits for a worker that is being replaced.
  bool IsToFinish(const Call& call) const;
  bool AnyServes() const;

  Process* Find(ProcessNumber number);
  const Process* Find(ProcessNumber number) const;
  Call* FindCall(CallId id);
  size_t queued() const { return queued_; }
  size_t queued_bytes() const { return queued_bytes_; }
  // Least and most sessions that the core may know: those that are too old may be forgotten.
  std::pair<size_t, size_t> SessionsBetween(Time now) const;

  std::vector<Process> processes;
  std::vector<Call> calls;  // not ended, in the order of submission
  std::array<Session, kSessions> sessions;
  bool closed = false;
  bool stopped = false;

 private:
  bool IsStrict() const { return options_.sessions.affinity != Affinity::kHint; }
  bool IsTooOld(const Session& session, Time now) const;
  bool OwnerServes(const Session& session) const;
  Session& Use(int session, Time now);
  // The process that the call may go to now; null: none.
  const Process* RouteOf(const Call& call) const;
  const Process* LeastLoaded() const;

  const PoolOptions& options_;
  size_t queued_ = 0;
  size_t queued_bytes_ = 0;
  uint64_t uses_ = 0;
  uint64_t dispatches_ = 0;
  uint64_t session_numbers_ = 0;
};

}  // namespace snakepit::simulation

#endif  // SNAKEPIT_CORE_SIMULATION_MODEL_H_
