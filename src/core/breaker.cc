#include "src/core/breaker.h"

namespace snakepit {
namespace {

void Prune(std::deque<Breaker::Time>* ends, std::chrono::milliseconds window, Breaker::Time now) {
  while (!ends->empty() && now - ends->front() > window) ends->pop_front();
}

}  // namespace

std::string_view BreakerStateName(BreakerState state) {
  constexpr std::string_view kNames[] = {"closed", "open", "half-open"};
  return kNames[static_cast<int>(state)];
}

void Breaker::ProcessEnded(bool useful, int workers, Time now) {
  if (state_ != BreakerState::kClosed) return;
  if (!useful) futile_.push_back(now);
  all_.push_back(now);
  Prune(&futile_, options_.restart.burst_window, now);
  Prune(&all_, options_.restart.sustained_window, now);
  const auto most = [workers](int limit) { return static_cast<size_t>(limit) * workers; };
  if (futile_.size() > most(options_.restart.burst) ||
      all_.size() > most(options_.restart.sustained)) {
    Open(now);
  }
}

void Breaker::Open(Time now) {
  state_ = BreakerState::kOpen;
  timer_ = now + options_.restart.breaker_cooldown;
  ++times_opened_;
}

void Breaker::BeginProbe() {
  state_ = BreakerState::kHalfOpen;
  timer_.reset();
}

void Breaker::ProbeReady(Time now) { timer_ = now + options_.restart.burst_window; }

void Breaker::Close() {
  state_ = BreakerState::kClosed;
  timer_.reset();
  futile_.clear();
  all_.clear();
}

}  // namespace snakepit
