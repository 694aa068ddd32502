// Faults: a thread that does to the workers what its generator says, and writes it down.
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
  // `control_file` is what workers read when they start; `workers`: how many the pool has at rest.
  Faults(Pool& pool, Recorder& recorder, uint64_t seed, std::string control_file, int workers);
  ~Faults();
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  // What the control file says when there is no fault. To be called before a worker is started.
  static Result<void> WriteControl(const std::string& control_file, int64_t delay_ms,
                                   int64_t exit_code);

  // A round of faults, until Stop; `round` makes its draws differ.
  void Start(int round);
  // Continues what is stopped, lets workers start as usual, and has as many as at rest.
  void Stop();

  // Whether a process that was killed in this round is one that the pool counts on. After Stop.
  bool HasKilledOneOf(const std::vector<WorkerInfo>& workers) const;

  // Hands over the faults of the round, which is over. After Stop.
  std::vector<Fault> Take();

  // So far, by FaultKind, and by command from kFlood on.
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

  // Of the thread, while it runs.
  std::vector<Fault> faults_;
  std::set<pid_t> killed_;
  std::multimap<Time, Stopped> stopped_;  // by when they are to be continued
  // Starts are slow, or fail, until then; of which fault.
  struct StartFault {
    Time until{0};
    int64_t value = 0;
    size_t fault = 0;
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
