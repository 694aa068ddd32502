// The breaker of a pool: stops the starting of workers while too many of them end. Pure: no I/O, no
// clock.
#ifndef SNAKEPIT_CORE_BREAKER_H_
#define SNAKEPIT_CORE_BREAKER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

#include "snakepit/options.h"
#include "snakepit/stats.h"

namespace snakepit {

class Breaker {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Takes the limits from the options.
  explicit Breaker(const PoolOptions& options) : options_(options) {}

  BreakerState state() const { return state_; }
  int64_t times_opened() const { return times_opened_; }
  // The ends that opened it: those without useful work within RestartOptions::burst_window, and all
  // within sustained_window.
  size_t futile_ends() const { return futile_.size(); }
  size_t ends() const { return all_.size(); }

  // Time at which the cooldown ends, or the probe has been ready for long enough.
  std::optional<Time> timer() const { return timer_; }

  // A process ended that the pool had not asked to end. `useful`: it had answered a call.
  // `workers`: the number that the pool wants. Opens the breaker when that was one too many.
  void ProcessEnded(bool useful, int workers, Time now);

  // kOpen becomes kHalfOpen.
  void BeginProbe();
  // The probe is ready. It has to stay so for RestartOptions::burst_window.
  void ProbeReady(Time now);
  void ProbeFailed(Time now) { Open(now); }
  // The probe answered a call, or stayed; or there is nothing to probe.
  void Close();

 private:
  void Open(Time now);

  const PoolOptions& options_;
  BreakerState state_ = BreakerState::kClosed;
  std::optional<Time> timer_;
  // Times of process ends, as far back as the windows go; at most one more than the limits.
  std::deque<Time> futile_;
  std::deque<Time> all_;
  int64_t times_opened_ = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_BREAKER_H_
