#include "src/core/sessions.h"

#include <iterator>
#include <utility>

namespace snakepit {

SessionTable::Session SessionTable::TakeOut(std::list<Session>::iterator session) {
  by_id_.erase(session->id);
  Session taken = std::move(*session);
  by_use_.erase(session);
  return taken;
}

SessionTable::Session& SessionTable::Use(std::string_view id, Time now,
                                         std::vector<Session>* forgotten) {
  for (int i = 0; i < kMostForgottenAtOnce && !by_use_.empty(); ++i) {
    if (!IsTooOld(by_use_.back(), now)) break;
    forgotten->push_back(TakeOut(std::prev(by_use_.end())));
  }
  auto found = by_id_.find(id);
  if (found != by_id_.end() && IsTooOld(*found->second, now)) {
    forgotten->push_back(TakeOut(found->second));
    found = by_id_.end();
  }
  if (found != by_id_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, found->second);
  } else {
    if (by_use_.size() >= max_sessions_) forgotten->push_back(TakeOut(std::prev(by_use_.end())));
    by_use_.push_front({.id = std::string(id), .last_used = now});
    by_id_.emplace(by_use_.front().id, by_use_.begin());
  }
  by_use_.front().last_used = now;
  return by_use_.front();
}

std::optional<SessionTable::Session> SessionTable::Forget(std::string_view id) {
  auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  return TakeOut(found->second);
}

SessionTable::Session* SessionTable::Find(std::string_view id) {
  auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &*found->second;
}

}  // namespace snakepit
