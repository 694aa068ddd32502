#include "src/core/sessions.h"

#include <iterator>
#include <utility>

#include "snakepit/options.h"

namespace snakepit {

std::string_view AffinityName(Affinity affinity) {
  constexpr std::string_view kNames[] = {"hint", "strict_queue", "strict_fail_fast"};
  return kNames[static_cast<int>(affinity)];
}

SessionTable::Session SessionTable::TakeOut(std::list<Session>::iterator session) {
  by_id_.erase(session->id);
  Session taken = std::move(*session);
  by_use_.erase(session);
  return taken;
}

SessionTable::Session& SessionTable::Use(std::string_view id, Time now,
                                         std::vector<Session>* forgotten) {
  auto found = by_id_.find(id);
  if (found != by_id_.end() && IsTooOld(*found->second, now)) {
    forgotten->push_back(TakeOut(found->second));
    found = by_id_.end();
  }
  if (found != by_id_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, found->second);
  } else {
    ForgetSurplus(forgotten);
    by_use_.push_front({.id = std::string(id), .number = ++last_number_, .last_used = now});
    by_id_.emplace(by_use_.front().id, by_use_.begin());
  }
  by_use_.front().last_used = now;
  return by_use_.front();
}

// Makes room for one more.
void SessionTable::ForgetSurplus(std::vector<Session>* forgotten) {
  auto next = by_use_.end();
  for (int i = 0; i < kMostAtOnce && by_use_.size() >= max_sessions_; ++i) {
    if (next == by_use_.begin()) return;
    const auto session = std::prev(next);
    if (session->open_calls > 0) {
      next = session;
    } else {
      forgotten->push_back(TakeOut(session));
    }
  }
}

void SessionTable::Expire(Time now, std::vector<Session>* forgotten) {
  for (int i = 0; i < kMostAtOnce && !by_use_.empty(); ++i) {
    const auto last = std::prev(by_use_.end());
    if (last->open_calls > 0 && now - last->last_used > ttl_) {
      // It is in use: out of the way of those that are not.
      last->last_used = now;
      by_use_.splice(by_use_.begin(), by_use_, last);
      continue;
    }
    if (!IsTooOld(*last, now)) return;
    forgotten->push_back(TakeOut(last));
  }
}

std::optional<SessionTable::Time> SessionTable::NextExpiry() const {
  if (by_use_.empty()) return std::nullopt;
  return by_use_.back().last_used + ttl_ + std::chrono::milliseconds(1);
}

SessionTable::Session* SessionTable::CallEnded(std::string_view id, uint64_t number, Time now) {
  auto found = by_id_.find(id);
  if (found == by_id_.end() || found->second->number != number) return nullptr;
  --found->second->open_calls;
  found->second->last_used = now;
  by_use_.splice(by_use_.begin(), by_use_, found->second);
  return &*found->second;
}

std::optional<SessionTable::Session> SessionTable::Forget(std::string_view id) {
  auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  return TakeOut(found->second);
}

SessionTable::Session* SessionTable::Find(std::string_view id, Time now) {
  auto found = by_id_.find(id);
  return found == by_id_.end() || IsTooOld(*found->second, now) ? nullptr : &*found->second;
}

SessionTable::Session* SessionTable::Find(std::string_view id, uint64_t number) {
  auto found = by_id_.find(id);
  return found == by_id_.end() || found->second->number != number ? nullptr : &*found->second;
}

}  // namespace snakepit
