#include "src/worker/stdio/calls_in_flight.h"

#include <utility>
#include <vector>

namespace snakepit {

bool CallsInFlight::Add(CallPtr call) {
  const int64_t id = call->id;
  const MutexLock lock(mutex_);
  return calls_.emplace(id, std::move(call)).second;
}

void CallsInFlight::Remove(int64_t id) {
  const MutexLock lock(mutex_);
  calls_.erase(id);
}

CallsInFlight::CallPtr CallsInFlight::Find(int64_t id) const {
  const MutexLock lock(mutex_);
  const auto it = calls_.find(id);
  return it == calls_.end() ? nullptr : it->second;
}

void CallsInFlight::EndCredit() {
  const MutexLock lock(mutex_);
  for (const auto& [id, call] : calls_) {
    if (call->credit) call->credit->End();
  }
}

void CallsInFlight::StopAll() {
  std::vector<CallPtr> calls;
  {
    const MutexLock lock(mutex_);
    for (const auto& [id, call] : calls_) calls.push_back(call);
  }
  for (const CallPtr& call : calls) call->stop.request_stop();
}

}  // namespace snakepit
