#include "src/core/breaker.h"

namespace snakepit {
namespace {

// Adds the end to those of the window; whether they are over the limit now.
bool IsOneTooMany(std::deque<Breaker::Time>* ends, std::chrono::milliseconds window, int64_t limit,
                  Breaker::Time now) {
  ends->push_back(now);
  while (now - ends->front() > window) ends->pop_front();
  return static_cast<int64_t>(ends->size()) > limit;
}

}  // namespace

std::string_view BreakerStateName(BreakerState state) {
  constexpr std::string_view kNames[] = {"closed", "open", "half-open"};
  return kNames[static_cast<int>(state)];
}

void Breaker::ProcessEnded(bool useful, int workers, Time now) {
  if (state_ != BreakerState::kClosed) return;
  const bool too_many_futile =
      !useful && IsOneTooMany(&futile_, options_.restart_burst_window,
                              int64_t{options_.restart_burst} * workers, now);
  const bool too_many = IsOneTooMany(&all_, options_.restart_sustained_window,
                                     int64_t{options_.restart_sustained} * workers, now);
  if (too_many_futile || too_many) Open(now);
}

void Breaker::Open(Time now) {
  state_ = BreakerState::kOpen;
  timer_ = now + options_.breaker_cooldown;
  ++times_opened_;
}

void Breaker::BeginProbe() {
  state_ = BreakerState::kHalfOpen;
  timer_.reset();
}

void Breaker::ProbeReady(Time now) { timer_ = now + options_.restart_burst_window; }

void Breaker::Close() {
  state_ = BreakerState::kClosed;
  timer_.reset();
  futile_.clear();
  all_.clear();
}

}  // namespace snakepit
