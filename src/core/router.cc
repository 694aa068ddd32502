#include "src/core/router.h"

#include <cstdint>

namespace snakepit {
namespace {

// True if `a` is preferred. The load is the used share of the capacity, so workers of different
// capacity get calls in proportion. Among equals it is the one whose latest dispatch is the oldest,
// so all take part.
bool IsLessLoaded(const WorkerView& a, const WorkerView& b) {
  const int64_t load_a = int64_t{a.in_flight} * b.capacity;
  const int64_t load_b = int64_t{b.in_flight} * a.capacity;
  return load_a != load_b ? load_a < load_b : a.last_dispatch < b.last_dispatch;
}

}  // namespace

bool Router::Serves(const SessionTable::Session& session) const {
  if (session.worker == kNoWorker) return false;
  const WorkerView& owner = board_[session.worker];
  return owner.process == session.process_number && owner.Serves();
}

bool Router::IsLost(const SessionTable::Session& session) const {
  return is_strict() && session.worker != kNoWorker && !Serves(session);
}

Route Router::RouteOf(const SessionTable::Session* session, const Place& place) const {
  if (session != nullptr) {
    if (const auto route = RouteBySession(*session, place)) return *route;
  }
  const WorkerIndex worker = LeastLoaded();
  if (worker == kNoWorker) return {Route::Kind::kQueue};
  return {Route::Kind::kDispatch, worker};
}

// Nothing: the session binds the call to no worker.
std::optional<Route> Router::RouteBySession(const SessionTable::Session& session,
                                            const Place& place) const {
  if (session.worker == kNoWorker) return std::nullopt;
  const WorkerView& owner = board_[session.worker];
  if (!is_strict()) {
    if (!Serves(session)) return std::nullopt;
    if (owner.HasRoom()) return Route{Route::Kind::kDispatch, session.worker};
    // The first calls of a session agree on one worker; later ones prefer it.
    if (place.is_first_of_session && owner.state == WorkerState::kReady) {
      return Route{Route::Kind::kWait, session.worker};
    }
    return std::nullopt;
  }
  const bool finishes = place.waits_for == session.worker && !stopping_ &&
                        owner.process == session.process_number &&
                        owner.state == WorkerState::kDraining;
  if (IsLost(session) && !finishes) return Route{Route::Kind::kSessionLost};
  if (owner.HasRoom() || (finishes && owner.HasSpareCapacity())) {
    return Route{Route::Kind::kDispatch, session.worker};
  }
  // The pool's own check of a legacy worker is over in a moment, so the call waits for it. So does
  // a call that was accepted before its session had a worker.
  const bool is_only_checked =
      owner.state == WorkerState::kReady && owner.in_flight < owner.capacity;
  if (affinity_ == Affinity::kStrictFailFast && place.waits_for == kNoWorker && !is_only_checked) {
    return Route{Route::Kind::kSessionBusy};
  }
  return Route{Route::Kind::kWait, session.worker};
}

WorkerIndex Router::LeastLoaded() const {
  const WorkerView* best = nullptr;
  WorkerIndex index{0}, best_index = kNoWorker;
  for (const WorkerView& worker : board_) {
    if (worker.HasRoom() && (best == nullptr || IsLessLoaded(worker, *best))) {
      best = &worker;
      best_index = index;
    }
    ++index;
  }
  return best_index;
}

}  // namespace snakepit
