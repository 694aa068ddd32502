#include "src/worker/read_gate.h"

#include <algorithm>
#include <utility>

namespace snakepit {

void ReadGate::Enter(std::shared_ptr<Request> request) {
  {
    std::lock_guard lock(mutex_);
    if (inside_ == most_inside_) {
      waiting_.push_back(std::move(request));
      return;
    }
    ++inside_;
  }
  request->Read();
}

bool ReadGate::Withdraw(const Request* request) {
  std::shared_ptr<Request> withdrawn;  // which may be the last to hold it
  std::lock_guard lock(mutex_);
  const auto it = std::find_if(waiting_.begin(), waiting_.end(),
                               [request](const auto& waiting) { return waiting.get() == request; });
  if (it == waiting_.end()) return false;
  withdrawn = std::move(*it);
  waiting_.erase(it);
  return true;
}

void ReadGate::Leave() {
  std::shared_ptr<Request> next;
  {
    std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
      --inside_;
      return;
    }
    next = std::move(waiting_.front());
    waiting_.pop_front();
  }
  next->Read();
}

}  // namespace snakepit
