#include "conformance/harness/self_test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "conformance/harness/runner.h"

namespace snakepit::conformance {
namespace {

using std::chrono::milliseconds;

Verdict Passes(Testbed&) { return Verdict::Pass(); }
Verdict Fails(Testbed&) { return Verdict::Fail("1", "2"); }
Verdict IsNotApplicable(Testbed&) { return Verdict::NotApplicable("nothing to judge"); }
Verdict Breaks(Testbed&) { return Verdict::HarnessError("the judge broke"); }

Verdict LeaksAProcess(Testbed&) {
  if (fork() == 0) {
    while (true) pause();
  }
  return Verdict::Pass();
}

// A child in a session of its own, which is an orphan by the end of the case.
Verdict LeaksAnOrphan(Testbed&) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Verdict::HarnessError("pipe");
  const pid_t child = fork();
  if (child == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    close(ends[0]);
    close(ends[1]);
    while (true) pause();
  }
  close(ends[1]);
  char byte;
  while (read(ends[0], &byte, 1) > 0) continue;  // until child and grandchild have closed it
  close(ends[0]);
  return Verdict::Pass();
}

Verdict LeaksADescriptor(Testbed&) {
  return open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0 ? Verdict::Pass()
                                                      : Verdict::HarnessError("open");
}

Verdict LeaksASocketFile(Testbed&) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = std::string(std::getenv("TMPDIR")) + "/left.sock";
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return bound ? Verdict::Pass() : Verdict::HarnessError("bind");
}

// Takes longer than its deadline, but not for ever, so that its thread can be joined.
Verdict TakesTooLong(Testbed&) {
  poll(nullptr, 0, 300);
  return Verdict::Pass();
}

Case Make(std::string_view id, Verdict (*run)(Testbed&), int workers = 0) {
  return {.id = id,
          .title = "a part of the self-test",
          .clause = "0.1",
          .requirement = "the judge sees what this case does",
          .workers = workers,
          .run = run,
          .mutants = {}};
}

class Tester {
 public:
  explicit Tester(const ScratchFolder& scratch) : scratch_(scratch) {}

  // The case must end with the status, and with the text in `observed`.
  void Expect(std::string what, const Case& subject, Status status, std::string_view text) {
    RunOptions options;
    options.subject.argv = {"/bin/false"};  // a worker that ends at once
    options.slowdown = 0.1;                 // leaks here do not go away, so no long wait
    options.case_deadline = milliseconds(100'000);
    if (subject.run == TakesTooLong) options.case_deadline = milliseconds(1'000);
    const CaseResult result = Runner(options, scratch_).RunOne(subject);
    const Verdict& verdict = result.verdict;
    const bool passed =
        verdict.status == status && verdict.observed.find(text) != std::string::npos;
    results_.push_back({std::move(what), passed,
                        std::string(StatusName(verdict.status)) + ": " + verdict.observed});
    last_log_ = result.log;
  }

  // The log of the last case must have a line that begins so.
  void ExpectLogged(std::string what, std::string_view text) {
    const bool passed = std::any_of(last_log_.begin(), last_log_.end(),
                                    [text](const auto& line) { return line.starts_with(text); });
    results_.push_back({std::move(what), passed, std::to_string(last_log_.size()) + " log lines"});
  }

  void ExpectOutcome(std::string what, const Case& canary, const Case& subject, Outcome outcome) {
    RunOptions options;
    options.subject.argv = {"/bin/false"};
    const RunResult run =
        Runner(options, scratch_).RunAll(canary, {&subject}, [](const CaseResult&) {});
    results_.push_back(
        {std::move(what), run.outcome == outcome, std::string(OutcomeName(run.outcome))});
  }

  std::vector<SelfTestResult> TakeResults() { return std::move(results_); }

 private:
  const ScratchFolder& scratch_;
  std::vector<SelfTestResult> results_;
  std::vector<std::string> last_log_;
};

}  // namespace

std::vector<SelfTestResult> SelfTest(const ScratchFolder& scratch) {
  const Case passes = Make("self/passes", Passes);
  const Case fails = Make("self/canary", Fails);
  const Case is_not_applicable = Make("self/not-applicable", IsNotApplicable);
  const Case breaks = Make("self/breaks", Breaks);
  const Case needs_worker = Make("self/worker", Passes, 1);
  Tester tester(scratch);
  tester.Expect("a case that passes is a pass", passes, Status::kPass, "");
  tester.Expect("the canary, a case that must fail, fails", fails, Status::kFail, "2");
  tester.Expect("a worker that ends at once is no pass", needs_worker, Status::kNotRun,
                "START_FAILED");
  tester.Expect("a case over its deadline fails", Make("self/slow", TakesTooLong), Status::kFail,
                "it did not");
  tester.ExpectLogged("each kill by the judge is in the log, with the reason",
                      "the judge kills all processes of the case, as the case did not end");
  tester.Expect("a leaked process turns a green case red", Make("self/process", LeaksAProcess),
                Status::kFail, "process ");
  tester.Expect("an orphan turns a green case red", Make("self/orphan", LeaksAnOrphan),
                Status::kFail, "process ");
  tester.Expect("a leaked descriptor turns a green case red",
                Make("self/descriptor", LeaksADescriptor), Status::kFail, "/dev/null");
  tester.Expect("a leftover socket turns a green case red", Make("self/socket", LeaksASocketFile),
                Status::kFail, "left.sock");
  tester.ExpectOutcome("a passed case makes a green run", fails, passes, Outcome::kGreen);
  tester.ExpectOutcome("a failed case makes a red run", fails, fails, Outcome::kRed);
  tester.ExpectOutcome("a case that could not be run makes a red run", fails, needs_worker,
                       Outcome::kRed);
  tester.ExpectOutcome("a run with nothing applicable is not green", fails, is_not_applicable,
                       Outcome::kNothingRan);
  tester.ExpectOutcome("a fault of the judge is none of the worker", fails, breaks,
                       Outcome::kHarnessFault);
  tester.ExpectOutcome("a canary that passes makes the run void", passes, passes,
                       Outcome::kHarnessFault);
  return tester.TakeResults();
}

}  // namespace snakepit::conformance
