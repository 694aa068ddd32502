// Faults: a thread that harms workers, as its random generator says, and records the faults.
#ifndef SNAKEPIT_STORM_FAULTS_H_
#define SNAKEPIT_STORM_FAULTS_H_

#include <array>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/fd.h"
#include "storm/random.h"
#include "storm/recorder.h"

namespace snakepit::storm {

class Faults {
 public:
  // `control_file`: read by workers when they start. `workers`: their number at rest.
  Faults(Pool& pool, Recorder& recorder, uint64_t seed, std::string control_file, int workers);
  ~Faults();
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  // Writes the control file; 0 and 0 is no fault. Must be called before a worker is started.
  static Result<void> WriteControl(const std::string& control_file, int64_t delay_ms,
                                   int64_t exit_code);

  // Begins a round of faults, until Stop. `round` makes its draws differ.
  void Start(int round);
  // Continues stopped workers, and makes starts and the number of workers normal again.
  void Stop();

  // True if one of the workers was killed in this round. After Stop.
  bool HasKilledOneOf(const std::vector<WorkerInfo>& workers) const;

  // Hands over the faults of the round. After Stop.
  std::vector<Fault> Take();

  // Numbers of faults so far, by FaultKind, and by Command from kFlood on.
  std::array<int64_t, kFaultKinds> counts() const;
  std::array<int64_t, kCommands> command_counts() const;

 private:
  struct Stopped {
    UniqueFd process;
    size_t fault;  // in faults_
  };

  void Loop(int round);
  void Inject(Random& random);
  void Kill(Random& random);
  void Terminate(Random& random);
  void Restart();
  void Resize(Random& random);
  void StopWorker(Random& random);
  void Continue(std::multimap<Time, Stopped>::iterator stopped);
  void SlowStart(Random& random);
  void FailedStart(Random& random);
  void UpdateControl();
  void Call(Random& random, Command command);
  size_t Note(FaultKind kind, const WorkerInfo& worker);

  Pool& pool_;
  Recorder& recorder_;
  const uint64_t seed_;
  const std::string control_file_;
  const int workers_;

  // Used by the thread alone, while it runs.
  std::vector<Fault> faults_;
  std::set<pid_t> killed_;
  std::multimap<Time, Stopped> stopped_;  // keyed by the time of their SIGCONT
  // Starts are slow, or fail, until `until`.
  struct StartFault {
    Time until{0};
    int64_t value = 0;
    size_t fault = 0;  // in faults_
  };
  StartFault slow_start_, failed_start_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::array<int64_t, kFaultKinds> counts_{};
  std::array<int64_t, kCommands> command_counts_{};
  std::thread thread_;
};

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_FAULTS_H_
