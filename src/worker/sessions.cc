#include "src/worker/sessions.h"

#include <utility>

namespace snakepit {

std::shared_ptr<SessionState> Sessions::Use(std::string_view id) {
  const auto now = clock_();
  const MutexLock lock(mutex_);
  Expire(now);
  if (const auto found = by_id_.find(id); found != by_id_.end()) {
    entries_.splice(entries_.end(), entries_, found->second);
    found->second->used = now;
    return found->second->state;
  }
  if (entries_.size() >= kMaxSessions) EraseOldest();
  entries_.push_back({std::string(id), std::make_shared<SessionState>(), now});
  by_id_.emplace(entries_.back().id, std::prev(entries_.end()));
  return entries_.back().state;
}

void Sessions::End(std::string_view id) {
  const MutexLock lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  const auto entry = found->second;
  by_id_.erase(found);
  entries_.erase(entry);
}

size_t Sessions::size() {
  const auto now = clock_();
  const MutexLock lock(mutex_);
  Expire(now);
  return entries_.size();
}

void Sessions::Expire(std::chrono::steady_clock::time_point now) {
  while (!entries_.empty() && now - entries_.front().used >= kSessionTtl) EraseOldest();
}

void Sessions::EraseOldest() {
  by_id_.erase(entries_.front().id);
  entries_.pop_front();
}

}  // namespace snakepit
