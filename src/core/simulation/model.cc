#include "src/core/simulation/model.h"

#include <algorithm>

namespace snakepit::simulation {

const Process* Model::Find(ProcessNumber number) const {
  for (const Process& process : processes) {
    if (process.number == number) return &process;
  }
  return nullptr;
}

Process* Model::Find(ProcessNumber number) {
  return const_cast<Process*>(static_cast<const Model*>(this)->Find(number));
}

Call* Model::FindCall(CallId id) {
  for (Call& call : calls) {
    if (call.id == id) return &call;
  }
  return nullptr;
}

bool Model::AnyServes() const {
  return std::any_of(processes.begin(), processes.end(),
                     [](const Process& process) { return process.Serves(); });
}

// --- Sessions ----------------------------------------------------------------------------------

bool Model::IsTooOld(const Session& session, Time now) const {
  return session.open_calls == 0 && now - session.last_used > options_.sessions.idle_timeout;
}

bool Model::OwnerServes(const Session& session) const {
  const Process* owner = Find(session.owner);
  return owner != nullptr && owner->Serves();
}

Session& Model::Use(int index, Time now) {
  Session& session = sessions[index];
  if (session.is_known && IsTooOld(session, now)) session = {};
  if (!session.is_known) {
    for (;;) {
      size_t known = 0;
      Session* oldest = nullptr;
      for (Session& other : sessions) {
        if (!other.is_known) continue;
        ++known;
        if (other.open_calls > 0) continue;
        if (oldest == nullptr || other.last_use < oldest->last_use) oldest = &other;
      }
      if (known < options_.sessions.max_count || oldest == nullptr) break;
      *oldest = {};
    }
    session = {.is_known = true, .number = ++session_numbers_};
  }
  session.last_used = now;
  session.last_use = ++uses_;
  return session;
}

std::pair<size_t, size_t> Model::SessionsBetween(Time now) const {
  size_t least = 0, most = 0;
  for (const Session& session : sessions) {
    if (!session.is_known) continue;
    ++most;
    least += !IsTooOld(session, now);
  }
  return {least, most};
}

void Model::EndSession(int index, Time now) {
  Session& session = sessions[index];
  if (!session.is_known) return;
  session = {};
  int anew = 0;
  for (Call& call : calls) {
    if (call.session != index) continue;
    if (call.process == 0) {
      call.is_first = true;
      ++anew;
    } else {
      call.session = -1;  // its end is nothing to the session of that name
    }
  }
  if (anew > 0) Use(index, now).open_calls = anew;
}

bool Model::IsOfLostSession(const Call& call) const {
  if (call.session < 0 || !IsStrict()) return false;
  const Session& session = sessions[call.session];
  return session.owner != 0 && !OwnerServes(session) && !IsToFinish(call);
}

bool Model::IsToFinish(const Call& call) const {
  if (call.session < 0 || !IsStrict() || stopped) return false;
  const Process* owner = Find(sessions[call.session].owner);
  return owner != nullptr && owner->state == WorkerState::kDraining && !owner->is_ending;
}

// --- Calls -------------------------------------------------------------------------------------

std::optional<Refusal> Model::RefusalOf(const Call& call, BreakerState breaker, Time now) {
  if (closed) return Refusal::kClosed;
  Call routed = call;
  if (call.session >= 0) {
    const Session& known = sessions[call.session];
    if (known.is_known && !IsTooOld(known, now) && IsStrict() && known.owner != 0 &&
        !OwnerServes(known)) {
      return Refusal::kSessionLost;
    }
    const Session& session = Use(call.session, now);
    routed.is_first = !(session.is_established && OwnerServes(session));
    const Process* owner = Find(session.owner);
    const bool is_only_checked = owner != nullptr && owner->state == WorkerState::kReady &&
                                 owner->in_flight < owner->capacity;
    if (options_.sessions.affinity == Affinity::kStrictFailFast && session.owner != 0 &&
        RouteOf(routed) == nullptr && !is_only_checked) {
      return Refusal::kSessionBusy;
    }
  }
  if (RouteOf(routed) != nullptr) return std::nullopt;
  if (breaker != BreakerState::kClosed && !AnyServes()) return Refusal::kBreakerOpen;
  if (queued_ >= options_.queue.max_calls) return Refusal::kQueueFull;
  if (queued_bytes_ + call.bytes > options_.queue.max_bytes) return Refusal::kQueueFull;
  return std::nullopt;
}

void Model::Accept(Call call, Time now) {
  (void)now;
  if (call.session >= 0) {
    Session& session = sessions[call.session];
    call.is_first = !(session.is_established && OwnerServes(session));
    ++session.open_calls;
  }
  queued_bytes_ += call.bytes;
  ++queued_;
  calls.push_back(call);
}

const Process* Model::LeastLoaded() const {
  const Process* best = nullptr;
  for (const Process& process : processes) {
    if (!process.HasRoom()) continue;
    if (best == nullptr) {
      best = &process;
      continue;
    }
    const int load = process.in_flight * best->capacity;
    const int best_load = best->in_flight * process.capacity;
    if (load > best_load) continue;
    const auto rank = std::pair(process.last_dispatch, process.order);
    if (load < best_load || rank < std::pair(best->last_dispatch, best->order)) best = &process;
  }
  return best;
}

const Process* Model::RouteOf(const Call& call) const {
  if (call.session >= 0 && sessions[call.session].owner != 0) {
    const Process* owner = Find(sessions[call.session].owner);
    const bool serves = owner != nullptr && owner->Serves();
    if (IsStrict()) {
      if (serves) return owner->HasRoom() ? owner : nullptr;
      return IsToFinish(call) && owner->HasSpareCapacity() ? owner : nullptr;
    }
    if (serves && owner->HasRoom()) return owner;
    if (serves && call.is_first && owner->state == WorkerState::kReady) return nullptr;
  }
  return LeastLoaded();
}

Model::Dispatch Model::NextDispatch(Time now) const {
  if (queued_ == 0) return {};
  for (const Call& call : calls) {
    if (call.process != 0) continue;
    if (!call.is_fresh && call.expiry() <= now) continue;
    const Process* process = RouteOf(call);
    if (process == nullptr) continue;
    bool moved = false;
    if (call.session >= 0) {
      const Session& session = sessions[call.session];
      moved = session.owner != 0 && session.owner != process->number && !OwnerServes(session);
    }
    return {call.id, process->number, moved};
  }
  return {};
}

void Model::Dispatched(const Dispatch& dispatch) {
  Call& call = *FindCall(dispatch.call);
  Process& process = *Find(dispatch.process);
  call.process = process.number;
  queued_bytes_ -= call.bytes;
  --queued_;
  ++process.in_flight;
  process.last_dispatch = ++dispatches_;
  if (call.session < 0) return;
  Session& session = sessions[call.session];
  if (session.owner == process.number || OwnerServes(session)) return;
  session.owner = process.number;
  session.is_established = false;
}

void Model::Ended(CallId id, bool has_begun, Time now) {
  Call& call = *FindCall(id);
  Process* process = call.process_ended ? nullptr : Find(call.process);
  if (call.process == 0) {
    queued_bytes_ -= call.bytes;
    --queued_;
  }
  if (process != nullptr) --process->in_flight;
  if (call.session >= 0) {
    Session& session = sessions[call.session];
    // The worker has the session's state, whatever it answered.
    if (process != nullptr && has_begun && session.owner == process->number) {
      session.is_established = true;
    }
    --session.open_calls;
    session.last_used = now;
    session.last_use = ++uses_;
  }
  calls.erase(calls.begin() + (&call - calls.data()));
}

}  // namespace snakepit::simulation
