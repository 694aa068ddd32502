// Runs cases, each in a pool of its own, under a deadline and with a ledger.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_RUNNER_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_RUNNER_H_

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "conformance/harness/case.h"
#include "conformance/harness/ledger.h"
#include "conformance/harness/subject.h"
#include "conformance/harness/testbed.h"

namespace snakepit::conformance {

struct CaseResult {
  const Case* subject = nullptr;  // the case
  Verdict verdict;
  std::vector<std::string> leaks;  // of the ledger
  std::vector<std::string> log;    // kept for what is not green
  std::chrono::milliseconds duration{0};
  // The case did not end, not even when its workers were killed: its thread still runs, so that
  // this process can run no other case.
  bool hung = false;
  bool interrupted = false;
  int protocol_version = 0;  // that the worker agreed to; 0: it did not start
};

struct RunOptions {
  Subject subject;
  PoolStarter start_pool = StartRealPool;
  double slowdown = 1;
  std::chrono::milliseconds case_deadline{20'000};  // on the calibration machine
  // Readable when the run is to end: a signalfd. -1: none.
  int interrupt_fd = -1;
};

// How a run ends. The numbers are the exit codes of the command.
enum class Outcome {
  kGreen = 0,         // at least one case passed, and none is red
  kRed = 1,           // a case failed, or could not be run
  kHarnessFault = 2,  // the judge failed: no verdict
  kNothingRan = 3,    // no case was selected, or none was applicable
  kInterrupted = 130,
};

struct RunResult {
  Outcome outcome = Outcome::kNothingRan;
  std::vector<CaseResult> results;
};

class Runner {
 public:
  // One at a time. `scratch` has been created.
  Runner(RunOptions options, const ScratchFolder& scratch)
      : options_(std::move(options)), scratch_(scratch) {}

  // One case.
  CaseResult RunOne(const Case& subject);

  // First the canary, a case that has to fail; then the cases, telling `report` of each. When the
  // worker does not even start for the canary, all cases are not-run.
  RunResult RunAll(const Case& canary, const std::vector<const Case*>& cases,
                   const std::function<void(const CaseResult&)>& report);

 private:
  struct Job;
  bool AwaitEnd(const Job& job, std::chrono::milliseconds limit, bool* interrupted) const;

  const RunOptions options_;
  const ScratchFolder& scratch_;
};

// Of the results alone.
Outcome Judge(const std::vector<CaseResult>& results);

// "PASS" and so on are for people; this is for the exit code's reader: "green", "red", …
std::string_view OutcomeName(Outcome outcome);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_RUNNER_H_
