// The steps of a simulation: events that a list of steps or the virtual clock brings about.
#ifndef SNAKEPIT_CORE_SIMULATION_WORLD_H_
#define SNAKEPIT_CORE_SIMULATION_WORLD_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "src/core/simulation/observer.h"
#include "src/core/simulation/step.h"

namespace snakepit::simulation {

class World : public Observer {
 public:
  World(const PoolOptions& options, uint64_t seed, std::string* story = nullptr);

  void Take(const Step& step);

  // Ends all faults: every process does as it should, and all comes to rest. Then the pool must be
  // at full strength and every call must have its outcome. After a stop, nothing must be left.
  void ComeToRest();

 private:
  void TakeOfProcess(const Step& step);
  void TakeOfUser(const Step& step);
  void Submit(uint32_t a, uint32_t b);
  void EndCall(uint32_t a, uint32_t b);
  void EndCallWith(Call call, CallReport report);
  void Cancel(uint32_t a);
  void Ready(Process& process, int capacity, bool checks_while_busy);
  void Exit(ProcessNumber number, int signal);
  void ReportHealth(Process& process, HealthReport report);
  void Pass(std::chrono::milliseconds time);
  void Stale(uint32_t a, uint32_t b);
  void Resize(int workers);
  void Stop();

  void Failed(const Process& process);
  void ExpectDisowned();
  bool IsAtRest() const;
};

}  // namespace snakepit::simulation

#endif  // SNAKEPIT_CORE_SIMULATION_WORLD_H_
