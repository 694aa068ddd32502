#include "conformance/harness/runner.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "conformance/wire/stdio_pool_end.h"
#include "conformance/wire/transcript.h"
#include "src/base/fd.h"
#include "src/cli/hints.h"

namespace snakepit::conformance {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Time that the kernel and gRPC's threads take to release resources, on the calibration machine.
constexpr milliseconds kLeakGrace{2'000};
// The last events of a transcript that a case shows if it is not green.
constexpr size_t kTranscriptLines = 30;
// Time that a case gets to end after its workers are killed.
constexpr milliseconds kKillGrace{10'000};

milliseconds Since(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
}

std::string Join(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += (joined.empty() ? "" : "; ") + text;
  return joined;
}

bool HasPassed(Status status) { return status == Status::kPass || status == Status::kWarning; }
bool IsRed(Status status) { return status == Status::kFail || status == Status::kNotRun; }

}  // namespace

std::string_view StatusName(Status status) {
  switch (status) {
    case Status::kPass:
      return "pass";
    case Status::kFail:
      return "fail";
    case Status::kWarning:
      return "warning";
    case Status::kNotApplicable:
      return "not-applicable";
    case Status::kNotRun:
      return "not-run";
    case Status::kHarnessError:
      return "harness-error";
  }
  return "?";
}

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kGreen:
      return "green";
    case Outcome::kRed:
      return "red";
    case Outcome::kHarnessFault:
      return "harness fault";
    case Outcome::kNothingRan:
      return "nothing ran";
    case Outcome::kInterrupted:
      return "interrupted";
  }
  return "?";
}

Outcome Judge(const std::vector<CaseResult>& results) {
  bool passed = false;
  bool red = false;
  for (const CaseResult& result : results) {
    if (result.verdict.status == Status::kHarnessError) return Outcome::kHarnessFault;
    red = red || IsRed(result.verdict.status);
    passed = passed || HasPassed(result.verdict.status);
  }
  return red ? Outcome::kRed : passed ? Outcome::kGreen : Outcome::kNothingRan;
}

// State that the thread of a case shares with the runner. It outlives both.
struct Runner::Job {
  Job(Testbed::Options options, milliseconds patience)
      : testbed(std::move(options)), patience(patience) {}

  // A hint for a worker that does not start; may be empty.
  std::string StartHint(const Error& error) const {
    const auto* stdio = std::get_if<StdioTransport>(&testbed.adapter().transport);
    if (stdio == nullptr || stdio->codecs.size() != 1) return {};
    return CodecHint(error, stdio->codecs.front(), stdio->negotiate);
  }

  Testbed testbed;
  const milliseconds patience;
  Transcript transcript;
  Verdict verdict;
  int agreed_version = 0;
  UniqueFd done{eventfd(0, EFD_CLOEXEC)};

  // Runs on the thread of the case.
  void Work(const Case& subject) {
    if (subject.judge != nullptr) {
      WorkPastPools(subject);
    } else {
      WorkWithPool(subject);
    }
    eventfd_write(done.get(), 1);
  }

  void WorkPastPools(const Case& subject) {
    StdioPoolEnd pool(
        {.adapter = testbed.adapter(), .slowdown = testbed.slowdown(), .patience = patience},
        transcript);
    try {
      subject.judge(pool);
    } catch (CaseEnd& end) {
      verdict = std::move(end.verdict);
    } catch (const std::exception& error) {
      verdict = Verdict::HarnessError(std::string("the case threw: ") + error.what());
    }
    agreed_version = pool.version();
  }

  void WorkWithPool(const Case& subject) {
    Result<void> started;
    if (subject.workers > 0) started = testbed.StartPool(subject.workers);
    if (started) {
      verdict = subject.run(testbed);
    } else {
      verdict = {Status::kNotRun, "the worker starts", started.error().ToString()};
      const std::string& tail = started.error().stderr_tail;
      const std::string hint = StartHint(started.error());
      if (!tail.empty()) verdict.observed += "; its stderr ends: " + tail;
      if (!hint.empty()) verdict.observed += "; " + hint;
    }
    testbed.StopPool();
    agreed_version = testbed.agreed_version();
  }

  // The last of all that happened.
  std::vector<std::string> LogLines() const {
    std::vector<std::string> lines = testbed.LogLines();
    const std::vector<std::string> wire = transcript.LastLines(kTranscriptLines);
    lines.insert(lines.end(), wire.begin(), wire.end());
    return lines;
  }
};

// False if the limit passed first, or the run was interrupted.
bool Runner::AwaitEnd(const Job& job, milliseconds limit, bool* interrupted) const {
  const auto deadline = steady_clock::now() + limit;
  while (true) {
    pollfd fds[] = {{job.done.get(), POLLIN, 0},
                    {*interrupted ? -1 : options_.interrupt_fd, POLLIN, 0}};
    const auto left = std::max(milliseconds(0), milliseconds(limit - Since(deadline - limit)));
    const int ready = poll(fds, 2, static_cast<int>(left.count()));
    if (fds[0].revents != 0) return true;
    if (ready > 0 && fds[1].revents != 0) {
      *interrupted = true;
      return false;
    }
    if (steady_clock::now() >= deadline) return false;
  }
}

CaseResult Runner::RunOne(const Case& subject) {
  CaseResult result;
  result.subject = &subject;
  const std::optional<TransportKind> only =
      subject.judge != nullptr ? TransportKind::kStdio : subject.transport;
  if (only && only != options_.subject.transport) {
    result.verdict = Verdict::NotApplicable("over " + std::string(TransportFlag(*only)) + " alone");
    return result;
  }
  const auto scaled = [this](milliseconds time) {
    return milliseconds(static_cast<int64_t>(time.count() * options_.slowdown));
  };
  static std::atomic<int> runs =
      0;  // all Runners count together: a mark names one case of one process
  const std::string mark = std::to_string(getpid()) + "." + std::to_string(++runs);
  Testbed::Options bench_options{.adapter = MakeAdapter(options_.subject),
                                 .start_pool = options_.start_pool,
                                 .slowdown = options_.slowdown,
                                 .expected_version = options_.subject.expected_version};
  bench_options.adapter.environment[kMarkVariable] = mark;

  const Ledger ledger(scratch_.path(), mark);
  const auto start = steady_clock::now();
  auto job = std::make_shared<Job>(std::move(bench_options), options_.patience);
  std::thread thread([job, &subject] { job->Work(subject); });
  bool ended = AwaitEnd(*job, scaled(options_.case_deadline), &result.interrupted);
  const bool in_time = ended;
  if (!ended) {
    const std::string why = result.interrupted ? "the run was interrupted"
                                               : "the case did not end within its time limit";
    // Noted before, since the pool may log their end at once, and after, with their names.
    job->testbed.Note("kills all processes of the case, as " + why);
    for (const Process& process : ledger.KillWorkers()) {
      job->testbed.Note("killed process " + Describe(process) + ", as " + why);
    }
    ended = AwaitEnd(*job, scaled(kKillGrace), &result.interrupted);
  }
  result.duration = Since(start);
  if (ended) {
    thread.join();
    result.verdict = std::move(job->verdict);
    result.log = job->LogLines();
    const auto fit = [&job](std::string* text) { *text = job->testbed.Fit(std::move(*text)); };
    fit(&result.verdict.expected);
    fit(&result.verdict.observed);
    for (std::string& line : result.log) fit(&line);
    result.protocol_version = job->agreed_version;
  } else {
    thread.detach();
    result.hung = true;
  }
  job.reset();
  if (result.interrupted) {
    result.verdict = {Status::kNotRun, {}, "the run was interrupted"};
  } else if (!in_time) {
    result.verdict = Verdict::Fail(
        "the case ends within " + std::to_string(scaled(options_.case_deadline).count()) + " ms",
        result.hung ? "it did not, and killing its workers did not help" : "it did not");
  }
  if (subject.level == Level::kShould && result.verdict.status == Status::kFail &&
      !options_.subject.strict) {
    result.verdict.status = Status::kWarning;
  }
  if (!result.hung) {
    result.leaks = ledger.AwaitNoLeaks(scaled(kLeakGrace));
    if (!result.leaks.empty() &&
        (HasPassed(result.verdict.status) || result.verdict.status == Status::kNotApplicable)) {
      result.verdict = Verdict::Fail("nothing is left of the pool", "left: " + Join(result.leaks));
    }
  }
  ledger.CleanUp();
  const Status status = result.verdict.status;
  if (status == Status::kPass || status == Status::kNotApplicable) result.log.clear();
  return result;
}

RunResult Runner::RunAll(const Case& canary, const std::vector<const Case*>& cases,
                         const std::function<void(const CaseResult&)>& report) {
  RunResult run;
  if (cases.empty()) return run;
  CaseResult canary_result = RunOne(canary);
  bool stopped = canary_result.hung;
  bool interrupted = canary_result.interrupted;
  Verdict why_not = {Status::kNotRun, "the worker starts, and answers a ping",
                     canary_result.verdict.observed};
  if (canary_result.verdict.status == Status::kPass) {
    canary_result.verdict = Verdict::HarnessError(
        "the canary, a case that has to fail, passed: nothing that this run "
        "says can be trusted");
  }
  // A failed canary is expected. Any other result is reported, since it explains the run.
  if (canary_result.verdict.status == Status::kHarnessError) {
    run.results.push_back(canary_result);
    report(canary_result);
  }
  if (canary_result.verdict.status != Status::kFail) stopped = true;
  for (const Case* const subject : cases) {
    CaseResult result;
    if (stopped || interrupted) {
      result.subject = subject;
      result.verdict = why_not;
      if (interrupted) result.verdict = {Status::kNotRun, {}, "the run was interrupted"};
    } else {
      result = RunOne(*subject);
      interrupted = result.interrupted;
      stopped = result.hung;
      if (stopped) why_not = {Status::kNotRun, {}, "a case before it did not end"};
    }
    report(result);
    run.results.push_back(std::move(result));
  }
  run.outcome = interrupted ? Outcome::kInterrupted : Judge(run.results);
  return run;
}

}  // namespace snakepit::conformance
