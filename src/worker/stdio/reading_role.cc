#include "src/worker/stdio/reading_role.h"

namespace snakepit {

ReadingRole::Turn ReadingRole::BeginBusy() {
  const uint64_t turn = ((state_.load(std::memory_order_relaxed) >> 2) + 1) << 2 | kBusy;
  // In one order with asleep_: either this thread sees that the other sleeps, or that one, before
  // it does, sees this.
  state_.store(turn);
  if (asleep_.load()) Wake();
  return turn;
}

bool ReadingRole::EndBusy(Turn turn) {
  return state_.compare_exchange_strong(turn, (turn & ~kStateMask) | kReading);
}

void ReadingRole::GiveUp(Turn turn) {
  if (turn != 0 && state_.compare_exchange_strong(turn, (turn & ~kStateMask) | kFree)) Wake();
}

bool ReadingRole::AwaitRole() {
  uint64_t seen = 0;
  int idle_ticks = 0;
  const auto is_over = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return woken_ || ended_; };
  MutexLock lock(mutex_);
  while (!ended_) {
    uint64_t state = state_.load();
    const uint64_t kind = state & kStateMask;
    if (kind == kFree || (kind == kBusy && state == seen)) {
      if (state_.compare_exchange_strong(state, (state & ~kStateMask) | kReading)) return true;
      continue;
    }
    idle_ticks = state == seen ? idle_ticks + 1 : 0;
    seen = state;
    woken_ = false;
    if (idle_ticks < kIdleTicks) {
      wake_.wait_for(lock, kTick, is_over);
      continue;
    }
    asleep_.store(true);
    if (state_.load() == seen) wake_.wait(lock, is_over);
    asleep_.store(false);
    idle_ticks = 0;
  }
  return false;
}

void ReadingRole::End() {
  {
    const MutexLock lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
}

void ReadingRole::Wake() {
  {
    const MutexLock lock(mutex_);
    woken_ = true;
  }
  wake_.notify_all();
}

}  // namespace snakepit
