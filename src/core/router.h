// The worker that a call goes to, by session and by load. Pure: decides, and changes nothing.
//
// Invariants:
// - A call goes only to a worker that has room. The one exception is the last calls of a strict
//   session: a draining worker still serves those that it already had in its queue.
// - In the strict modes no call of a session goes to a process that does not hold its state.
#ifndef SNAKEPIT_CORE_ROUTER_H_
#define SNAKEPIT_CORE_ROUTER_H_

#include <optional>

#include "snakepit/options.h"
#include "src/core/sessions.h"
#include "src/core/worker_view.h"

namespace snakepit {

struct Route {
  enum class Kind { kDispatch, kQueue, kWait, kSessionBusy, kSessionLost };
  Kind kind;
  WorkerIndex worker = kNoWorker;  // to dispatch to, or to wait for
};

class Router {
 public:
  // The call's place in its session.
  struct Place {
    bool is_first_of_session = false;   // submitted before any call of its session had ended
    WorkerIndex waits_for = kNoWorker;  // the worker in whose queue the call is
  };

  Router(Affinity affinity, const WorkerBoard& board) : affinity_(affinity), board_(board) {}

  // Null: the call has no session.
  Route RouteOf(const SessionTable::Session* session, const Place& place) const;

  // True if the process that holds the session's state takes calls, or will do so again.
  bool Serves(const SessionTable::Session& session) const;
  // True if the state is gone, in a mode where no call may do without it.
  bool IsLost(const SessionTable::Session& session) const;
  bool is_strict() const { return affinity_ != Affinity::kHint; }

  // A pool that stops has ended its queued calls, so no draining worker serves any.
  void Stop() { stopping_ = true; }

 private:
  std::optional<Route> RouteBySession(const SessionTable::Session& session,
                                      const Place& place) const;
  WorkerIndex LeastLoaded() const;

  const Affinity affinity_;
  const WorkerBoard& board_;
  bool stopping_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_ROUTER_H_
