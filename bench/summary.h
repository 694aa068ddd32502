// The console report of google-benchmark, followed by tables that compare within the run.
#ifndef SNAKEPIT_BENCH_SUMMARY_H_
#define SNAKEPIT_BENCH_SUMMARY_H_

#include <benchmark/benchmark.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace snakepit {

// Stands in the place of a ratio or figure that was not measured.
inline constexpr char kNoFigure[] = "-";

class SummaryReporter : public benchmark::ConsoleReporter {
 public:
  SummaryReporter();

  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

  // True if a benchmark ended with an error.
  bool failed() const { return failed_; }

 private:
  // The values of one counter: one for each repetition, or only the median if no more is reported.
  struct Samples {
    std::vector<double> repetitions;
    std::optional<double> median;
  };

  // The median of the repetitions; nothing if the benchmark did not run.
  std::optional<double> Figure(const std::string& benchmark, const std::string& counter) const;
  std::string Cell(const std::string& benchmark, const std::string& counter, int decimals) const;
  std::string Ratio(const std::string& benchmark, const std::string& base,
                    const std::string& counter) const;

  // The benchmark that is the floor for payloads of that size: the framed echo with the wait that
  // was quicker in this run. The quicker one depends on the load of the machine.
  std::string Floor(std::string_view size, const std::string& counter) const;

  void PrintRoundTrips() const;
  void PrintTransports() const;

  bool failed_ = false;
  std::map<std::string, std::map<std::string, Samples>> figures_;  // benchmark, counter
};

}  // namespace snakepit

#endif  // SNAKEPIT_BENCH_SUMMARY_H_
