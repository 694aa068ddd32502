// A core in a world of its own: a virtual clock, processes that do what a list of steps says, and
// after each step a look whether all is as it must be.
//
// The invariants: the workers of the seats are as many as wanted, and each of them lives, starts or
// backs off; a call is in exactly one place and has one outcome; no call goes to a worker that is
// not ready, over its capacity, after its time, or out of its turn; what the core says of itself is
// what the world knows. The model says who has to get which call next.
#ifndef SNAKEPIT_CORE_SIMULATION_WORLD_H_
#define SNAKEPIT_CORE_SIMULATION_WORLD_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "src/core/core.h"
#include "src/core/simulation/model.h"
#include "src/core/simulation/step.h"

namespace snakepit::simulation {

// What must not be. Thrown by every method of World; the world is of no use after it.
struct Violation {
  std::string what;
};

[[noreturn]] inline void Violate(std::string what) { throw Violation{std::move(what)}; }

inline void Require(bool holds, const char* what) {
  if (!holds) [[unlikely]] {
    Violate(what);
  }
}

class World {
 public:
  // `story`, if not null, gets a line for each thing that happens.
  World(const PoolOptions& options, uint64_t seed, std::string* story = nullptr);

  void Take(const Step& step);

  // No more faults: every process does as it should, and all comes to rest. Then the pool must be
  // at full strength, every call have its outcome; and after a stop, nothing be left.
  void ComeToRest();

  // Events that the core was told.
  int64_t events() const { return events_; }

 private:
  static constexpr int kIds = 8;

  // What is known of a seat's restarts.
  struct Seat {
    int failures = 0;
    Time not_before;
  };

  void Submit(uint32_t a, uint32_t b);
  void EndCall(uint32_t a, uint32_t b);
  void EndCallWith(Call call, CallReport report);
  void Cancel(uint32_t a);
  void Ready(Process& process, int capacity, bool checks_while_busy);
  void Exit(ProcessNumber number, int signal);
  void Gone(ProcessNumber number, bool is_explained);
  void ReportHealth(Process& process, HealthReport report);
  void Pass(std::chrono::milliseconds time);
  void Stale(uint32_t a, uint32_t b);
  void Resize(int workers);
  void Stop();

  void Failed(const Process& process);
  void ExpectDisowned();
  // After each event.
  void Observe();
  void LookAtWorkers();
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
  Process& Living(ProcessNumber number);
  bool IsAtRest() const;
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
  std::vector<ProcessNumber> ended_;  // the latest processes that have
  ProcessNumber last_process_ = 0;
  CallId cancelled_ = 0;  // in this step
  CallId last_call_ = 0;
  ProcessNumber overran_ = 0;  // in this step
  ProcessNumber restart_up_to_ = 0;
  ProcessNumber probe_ = 0;  // of the half-open breaker, the latest
  BreakerState breaker_ = BreakerState::kClosed;
};

}  // namespace snakepit::simulation

#endif  // SNAKEPIT_CORE_SIMULATION_WORLD_H_
