// Runner: runs cases, each with a pool of its own, a deadline and a ledger.
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
  std::vector<std::string> leaks;  // found by the ledger
  std::vector<std::string> log;    // kept if the case is not green
  std::chrono::milliseconds duration{0};
  // True if the case did not end, not even when its workers were killed. Its thread still runs, so
  // this process can run no other case.
  bool hung = false;
  bool interrupted = false;
  int protocol_version = 0;  // agreed with the worker; 0: it did not start
};

struct RunOptions {
  Subject subject;
  PoolStarter start_pool = StartRealPool;
  double slowdown = 1;
  std::chrono::milliseconds case_deadline{20'000};  // on the calibration machine
  // Longest wait for an event that must come, in cases that the judge runs itself; likewise.
  std::chrono::milliseconds patience{6'000};
  // A signalfd, readable when the run is to end; -1: none.
  int interrupt_fd = -1;
};

// The end of a run. The numbers are the exit codes of the command.
enum class Outcome {
  kGreen = 0,         // at least one case passed, perhaps with a warning, and none is red
  kRed = 1,           // a case failed or could not be run
  kHarnessFault = 2,  // the judge failed: no verdict
  kNothingRan = 3,    // no case was selected, or none applied
  kInterrupted = 130,
};

struct RunResult {
  Outcome outcome = Outcome::kNothingRan;
  std::vector<CaseResult> results;
};

class Runner {
 public:
  // One Runner at a time. `scratch` has been created.
  Runner(RunOptions options, const ScratchFolder& scratch)
      : options_(std::move(options)), scratch_(scratch) {}

  // Runs one case.
  CaseResult RunOne(const Case& subject);

  // Runs the canary, a case that must fail, and then the cases. `report` gets each result. If the
  // worker does not even start for the canary, all cases are not-run.
  RunResult RunAll(const Case& canary, const std::vector<const Case*>& cases,
                   const std::function<void(const CaseResult&)>& report);

 private:
  struct Job;
  bool AwaitEnd(const Job& job, std::chrono::milliseconds limit, bool* interrupted) const;

  const RunOptions options_;
  const ScratchFolder& scratch_;
};

// The outcome that follows from the results alone.
Outcome Judge(const std::vector<CaseResult>& results);

// "green", "red", …
std::string_view OutcomeName(Outcome outcome);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_RUNNER_H_
