// A core in a simulated world, seen by an observer that knows how a pool must behave.
//
// Invariants that it checks after each event:
// - The workers of the seats are as many as wanted. Each of them lives, starts or backs off.
// - A call is in exactly one place and has one outcome.
// - No call goes to a worker that is not ready, over its capacity, after its time, or out of turn.
//   The model says which call has to go where next.
// - The core's figures are those of the world.
#ifndef SNAKEPIT_CORE_SIMULATION_OBSERVER_H_
#define SNAKEPIT_CORE_SIMULATION_OBSERVER_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "src/core/core.h"
#include "src/core/simulation/model.h"

namespace snakepit::simulation {

// A broken invariant. Every method of Observer and World may throw it; the world is of no use after
// that.
struct Violation {
  std::string what;
};

[[noreturn]] inline void Violate(std::string what) { throw Violation{std::move(what)}; }

inline void Require(bool holds, const char* what) {
  if (!holds) [[unlikely]] {
    Violate(what);
  }
}

class Observer {
 public:
  // `story`, if not null, gets a line for each thing that happens.
  Observer(const PoolOptions& options, uint64_t seed, std::string* story);
  Observer(const Observer&) = delete;

  // Number of events that the core was told.
  int64_t events() const { return events_; }

 protected:
  static constexpr int kIds = 8;

  // The world's knowledge of a seat's restarts.
  struct Seat {
    int failures = 0;
    Time not_before;
  };

  // Takes the effects of an event, and checks everything.
  void Observe();
  // The process is gone, as far as the core knows.
  void Gone(ProcessNumber number, bool is_explained);
  Process& Living(ProcessNumber number);
  // A line of texts and integers.
  template <typename... Parts>
  void Tell(const Parts&... parts) {
    if (story_ == nullptr) [[likely]] {
      return;
    }
    std::string text;
    ((text += Text(parts)), ...);
    TellText(text);
  }
  void TellText(const std::string& text);
  static std::string Text(std::string_view text) { return std::string(text); }
  template <typename T>
  requires std::is_integral_v<T>
  static std::string Text(T number) { return std::to_string(number); }

  const PoolOptions options_;
  Core core_;
  Model model_;
  std::string* const story_;
  Time now_{};
  int64_t events_ = 0;
  int wanted_;
  std::array<Seat, kIds> seats_;
  std::vector<Effect> effects_;
  std::vector<ProcessNumber> ended_;  // the latest ended processes
  ProcessNumber last_process_ = 0;
  CallId cancelled_ = 0;  // this step's
  CallId last_call_ = 0;
  ProcessNumber overran_ = 0;  // this step's
  ProcessNumber restart_up_to_ = 0;
  ProcessNumber probe_ = 0;  // the half-open breaker's latest
  BreakerState breaker_ = BreakerState::kClosed;

 private:
  void LookAtWorkers();
  void LookAtSeats();
  void LookAtWorker(WorkerIndex index, const WorkerView& worker, bool may_start);
  void LookAtCalls();
  void On(const SpawnWorker& effect);
  void On(const DispatchCall& effect);
  void On(const snakepit::EndCall& effect);
  void On(const AskWorkerToEnd& effect);
  void On(const KillWorker& effect);
  void On(const DisownProcess& effect);
  void On(const ReplaceWorker& effect);
  void On(const ReportStartTimeout& effect);
  void On(const CheckWorker& effect);
  void On(const MeasureWorker& effect);
  void On(const EndWorkerSession& effect);
};

}  // namespace snakepit::simulation

#endif  // SNAKEPIT_CORE_SIMULATION_OBSERVER_H_
