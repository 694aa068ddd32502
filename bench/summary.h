// The console report of google-benchmark, and after it tables that compare within the run.
#ifndef SNAKEPIT_BENCH_SUMMARY_H_
#define SNAKEPIT_BENCH_SUMMARY_H_

#include <benchmark/benchmark.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace snakepit {

// What stands in the place of a ratio or figure that was not measured.
inline constexpr char kNoFigure[] = "-";

class SummaryReporter : public benchmark::ConsoleReporter {
 public:
  SummaryReporter();

  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

  // Whether a benchmark ended with an error.
  bool failed() const { return failed_; }

 private:
  // Of one counter: of each repetition, or the median alone when that is all that is reported.
  struct Samples {
    std::vector<double> repetitions;
    std::optional<double> median;
  };

  // The median over the repetitions; nothing when the benchmark did not run.
  std::optional<double> Figure(const std::string& benchmark, const std::string& counter) const;
  std::string Cell(const std::string& benchmark, const std::string& counter, int decimals) const;
  std::string Ratio(const std::string& benchmark, const std::string& base,
                    const std::string& counter) const;

  // The benchmark that is the floor for payloads of that size: of the framed echoes, that which
  // waits the way that was quicker in this run. Which that is depends on what else the machine
  // does.
  std::string Floor(std::string_view size, const std::string& counter) const;

  void PrintRoundTrips() const;
  void PrintTransports() const;

  bool failed_ = false;
  std::map<std::string, std::map<std::string, Samples>> figures_;  // benchmark, counter
};

}  // namespace snakepit

#endif  // SNAKEPIT_BENCH_SUMMARY_H_
