#include "src/worker/grpc/read_gate.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace snakepit {

bool ReadGate::Enter(std::shared_ptr<Request> request) {
  {
    const MutexLock lock(mutex_);
    if (inside_ == most_inside_) {
      waiting_.push_back(std::move(request));
      return false;
    }
    ++inside_;
    LetIn(request);
  }
  Read(*request);
  return true;
}

bool ReadGate::Withdraw(const Request* request) {
  std::shared_ptr<Request> withdrawn;  // may be its last owner, so it outlives the lock
  const MutexLock lock(mutex_);
  const auto it = std::find_if(waiting_.begin(), waiting_.end(),
                               [request](const auto& waiting) { return waiting.get() == request; });
  if (it == waiting_.end()) return false;
  withdrawn = std::move(*it);
  waiting_.erase(it);
  return true;
}

bool ReadGate::Arrive(Request* request) {
  std::shared_ptr<Request> arrived;
  const MutexLock lock(mutex_);
  if (!request->is_unread_) return false;
  request->is_unread_ = false;
  arrived = std::move(*request->place_);
  unread_.erase(request->place_);
  return true;
}

void ReadGate::Leave() {
  std::shared_ptr<Request> next;
  {
    const MutexLock lock(mutex_);
    if (waiting_.empty()) {
      --inside_;
      return;
    }
    next = std::move(waiting_.front());
    waiting_.pop_front();
    LetIn(next);
  }
  Read(*next);
}

std::optional<ReadGate::Clock::time_point> ReadGate::GiveUpLate() {
  std::vector<std::shared_ptr<Request>> late;
  const Clock::time_point now = Clock::now();
  Clock::time_point next = now + arrival_limit_;
  {
    const MutexLock lock(mutex_);
    if (waiting_.empty()) return std::nullopt;
    for (auto it = unread_.begin(); it != unread_.end();) {
      Request& request = **it;
      const Clock::time_point since = request.read_since_;
      if (since <= now - arrival_limit_) {
        request.is_unread_ = false;
        late.push_back(std::move(*it));
        it = unread_.erase(it);
        continue;
      }
      if (since < now) next = std::min(next, since + arrival_limit_);
      ++it;
    }
  }
  for (const auto& request : late) request->GiveUp();
  return next;
}

void ReadGate::LetIn(const std::shared_ptr<Request>& request) {
  request->place_ = unread_.insert(unread_.end(), request);
  request->is_unread_ = true;
}

void ReadGate::Read(Request& request) {
  request.Read();
  // Only now may it be given up.
  request.read_since_ = Clock::now();
}

}  // namespace snakepit
