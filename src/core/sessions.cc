#include "src/core/sessions.h"

namespace snakepit {

SessionTable::Session& SessionTable::Use(std::string_view id, Time now) {
  while (!by_use_.empty() && now - by_use_.back().last_used > ttl_) {
    by_id_.erase(by_use_.back().id);
    by_use_.pop_back();
  }
  if (auto found = by_id_.find(id); found != by_id_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, found->second);
  } else {
    if (by_use_.size() >= max_sessions_) {
      by_id_.erase(by_use_.back().id);
      by_use_.pop_back();
    }
    by_use_.push_front({.id = std::string(id), .last_used = now});
    by_id_.emplace(by_use_.front().id, by_use_.begin());
  }
  by_use_.front().last_used = now;
  return by_use_.front();
}

SessionTable::Session* SessionTable::Find(std::string_view id) {
  auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &*found->second;
}

}  // namespace snakepit
