// All timers of a core, in the order in which they fire. Pure: no clock.
#ifndef SNAKEPIT_CORE_TIMERS_H_
#define SNAKEPIT_CORE_TIMERS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>

#include "src/core/worker_index.h"

namespace snakepit {

using SteadyTime = std::chrono::steady_clock::time_point;

// Timers of the same time fire in this order.
enum class TimerKind : uint64_t { kCall, kWorker, kRecycle, kHealth, kBreaker, kSession };

// The thing that a timer belongs to.
class TimerKey {
 public:
  constexpr explicit TimerKey(TimerKind kind, uint64_t number = 0)
      : bits_(static_cast<uint64_t>(kind) << kShift | number) {}
  constexpr TimerKey(TimerKind kind, WorkerIndex worker)
      : TimerKey(kind, static_cast<uint64_t>(worker)) {}

  constexpr TimerKind kind() const { return static_cast<TimerKind>(bits_ >> kShift); }
  constexpr uint64_t number() const { return bits_ & ((uint64_t{1} << kShift) - 1); }
  constexpr WorkerIndex worker() const { return static_cast<WorkerIndex>(number()); }
  constexpr bool operator==(const TimerKey&) const = default;
  constexpr bool operator<(TimerKey other) const { return bits_ < other.bits_; }

 private:
  static constexpr int kShift = 61;
  uint64_t bits_;
};

class Timers {
 public:
  void Add(SteadyTime at, TimerKey key) { timers_.insert({at, key}); }
  // Removes the timer, if it has not fired yet.
  void Remove(SteadyTime at, TimerKey key) { timers_.erase({at, key}); }

  // Moves the one timer of the key from `*timer` to `at`, and writes down `at`. Nothing: no timer.
  void Set(std::optional<SteadyTime>* timer, TimerKey key, std::optional<SteadyTime> at) {
    if (*timer == at) return;
    if (*timer) Remove(**timer, key);
    *timer = at;
    if (at) Add(*at, key);
  }

  // Time at which the next timer fires; nothing: none is set.
  std::optional<SteadyTime> Next() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->at;
  }

  // Removes and returns the next timer, if it is due.
  std::optional<TimerKey> TakeDue(SteadyTime now) {
    if (timers_.empty() || timers_.begin()->at > now) return std::nullopt;
    const TimerKey key = timers_.begin()->key;
    timers_.erase(timers_.begin());
    return key;
  }

 private:
  struct Timer {
    SteadyTime at;
    TimerKey key;
    bool operator<(const Timer& other) const {
      return at < other.at || (at == other.at && key < other.key);
    }
  };
  std::set<Timer> timers_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_TIMERS_H_
