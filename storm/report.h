// Report: the output of a storm, for people.
#ifndef SNAKEPIT_STORM_REPORT_H_
#define SNAKEPIT_STORM_REPORT_H_

#include <string>
#include <string_view>
#include <vector>

#include "snakepit/pool.h"
#include "storm/check.h"
#include "storm/faults.h"
#include "storm/history.h"
#include "storm/recorder.h"
#include "storm/storm.h"

namespace snakepit::storm {

class Report {
 public:
  explicit Report(const StormOptions& options);

  // Prints a line of progress on stderr.
  void Progress(const Tally& tally, const Faults& faults, const PoolStats& stats) const;

  // Reports a fault that is in no history.
  void Fault(std::string_view what);
  // Reports the violations of a round, with the calls and the faults around them.
  void Violations(const History& history, const std::vector<Violation>& violations);

  // Prints the end on stdout.
  void Summarise(const Tally& tally, const Faults& faults, const std::vector<std::string>& figures,
                 std::string_view log) const;

  // Origin of all times in the report.
  Time begin() const { return begin_; }
  bool is_red() const { return faults_ > 0; }

 private:
  double SecondsPassed() const;
  std::vector<std::string> LinesAround(const Call& call, const History& history) const;

  const StormOptions& options_;
  const Time begin_;
  int faults_ = 0;
};

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_REPORT_H_
