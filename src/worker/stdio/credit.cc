#include "src/worker/stdio/credit.h"

#include <algorithm>

namespace snakepit {
namespace {

// Limit on the sum of grants. A pool that wants no limit gives no credit at all.
constexpr int64_t kMostBytes = INT64_C(1) << 62;

}  // namespace

void Credit::Grant(int64_t bytes) {
  const MutexLock lock(mutex_);
  bytes_ = std::min(bytes_ + bytes, kMostBytes);
  if (bytes_ > 0) granted_.notify_all();
}

void Credit::End() {
  const MutexLock lock(mutex_);
  ended_ = true;
  granted_.notify_all();
}

bool Credit::TryTake(size_t bytes) {
  const MutexLock lock(mutex_);
  if (bytes_ <= 0) return false;
  bytes_ -= static_cast<int64_t>(bytes);
  return true;
}

bool Credit::Take(size_t bytes, const std::stop_token& stop,
                  std::optional<std::chrono::steady_clock::time_point> deadline) {
  MutexLock lock(mutex_);
  const auto any = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return bytes_ > 0 || ended_; };
  if (deadline) {
    granted_.wait_until(lock, stop, *deadline, any);
  } else {
    granted_.wait(lock, stop, any);
  }
  const bool granted = bytes_ > 0;
  if (granted) bytes_ -= static_cast<int64_t>(bytes);
  return granted;
}

}  // namespace snakepit
