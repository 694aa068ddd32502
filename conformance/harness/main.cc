// conformance: judges any worker executable by the cases of conformance/cases.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "conformance/cases/cases.h"
#include "conformance/harness/report.h"
#include "conformance/harness/runner.h"
#include "conformance/harness/self_test.h"
#include "conformance/harness/slowdown.h"
#include "src/base/fd.h"
#include "src/base/quote.h"
#include "src/cli/worker_variables.h"
#include "src/cli/writer.h"
#include "src/wire/codec.h"

namespace snakepit::conformance {
namespace {

constexpr int kUsage = static_cast<int>(Outcome::kHarnessFault);

const char kRunExamples[] = R"(Examples:
  conformance run --transport stdio -- python3 my_worker.py --mode pool-worker
  conformance run --transport grpc -- python3 my_worker.py --port {port}
  conformance run --transport grpc -- ./worker --socket {socket}
  conformance run --transport stdio --codec msgpack --case 'str/**' --out /tmp/report -- ./worker

)";

struct RunFlags {
  Subject subject;
  std::string transport = "stdio";
  std::string codec = "auto";
  bool no_handshake = false;
  std::vector<std::string> variables;
  std::vector<std::string> patterns;
  std::string out;
};

int Fault(std::string_view message) {
  std::fprintf(stderr, "conformance: %s\n", Printable(message).c_str());
  return kUsage;
}

// The output of a run. A missing reader delays neither the run nor a signal. The end waits for the
// reader until a signal comes.
class Printer {
 public:
  explicit Printer(int interrupt_fd) : interrupt_fd_(interrupt_fd) {}

  void Print(const std::string& text) {
    while (!out_.Post(text) && !WasInterrupted()) out_.Flush(kLook, kLook);
  }

  void Finish() {
    while (!out_.Flush(kLook, kLook) && !WasInterrupted()) continue;
    out_.Flush(kLook, kLook);
  }

 private:
  // Interval of the checks for a signal.
  static constexpr std::chrono::milliseconds kLook{100};

  bool WasInterrupted() const {
    pollfd fd{.fd = interrupt_fd_, .events = POLLIN, .revents = 0};
    return poll(&fd, 1, 0) > 0;
  }

  const int interrupt_fd_;
  Writer out_{STDOUT_FILENO};
};

// Ctrl-C and SIGTERM end the run in order. Later threads inherit the blocked signals.
Result<UniqueFd> TakeInterrupts() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return Fail(ErrnoError("signalfd", errno));
  return UniqueFd(fd);
}

Result<void> WriteReports(const RunFlags& flags, const RunResult& run,
                          const ReportContext& context) {
  if (const char* const bazel = std::getenv("XML_OUTPUT_FILE")) {
    if (auto written = WriteFile(bazel, JUnitXml(run, context)); !written) return written;
  }
  if (flags.out.empty()) return {};
  if (auto written = WriteFile(flags.out + "/junit.xml", JUnitXml(run, context)); !written) {
    return written;
  }
  return WriteFile(flags.out + "/report.json", JsonReport(run, context));
}

int DoRun(const RunFlags& flags, const std::string& program) {
  std::vector<const Case*> cases = SelectCases(flags.patterns);
  const Case* const version_case = FindCase(kExpectedVersionCase);
  if (flags.subject.expected_version > 0 && !cases.empty() &&
      std::find(cases.begin(), cases.end(), version_case) == cases.end()) {
    cases.insert(cases.begin(), version_case);
  }
  if (cases.empty()) {
    Fault("no case matches; see `conformance list`");
    return static_cast<int>(Outcome::kNothingRan);
  }
  if (auto usable = CheckExecutable(flags.subject); !usable) return Fault(usable.error().message);
  if (!flags.out.empty()) {
    std::error_code error;
    std::filesystem::create_directories(flags.out, error);
    if (error) return Fault("cannot make the folder " + flags.out + ": " + error.message());
  }
  auto interrupts = TakeInterrupts();
  if (!interrupts) return Fault(interrupts.error().ToString());
  ScratchFolder scratch;
  if (auto created = scratch.Create(); !created) return Fault(created.error().ToString());

  RunOptions options;
  options.subject = flags.subject;
  options.slowdown = MeasureSlowdown();
  options.interrupt_fd = interrupts->get();
  const ReportContext context{program, flags.subject, options.slowdown};
  const bool is_terminal = isatty(STDOUT_FILENO) == 1;
  const bool is_colourful = is_terminal && std::getenv("NO_COLOR") == nullptr;
  char head[128];
  std::snprintf(head, sizeof head, "%zu cases over %s, time limits x %.1f\n", cases.size(),
                flags.transport.c_str(), options.slowdown);
  Printer printer(options.interrupt_fd);
  printer.Print(head);

  bool hung = false;
  Runner runner(options, scratch);
  const RunResult run = runner.RunAll(Canary(), cases, [&](const CaseResult& result) {
    hung = hung || result.hung;
    printer.Print(TableLines(result, context, is_colourful));
  });
  printer.Print(SummaryLine(run) + "\n");
  const auto written = WriteReports(flags, run, context);
  printer.Finish();
  const int code = written ? static_cast<int>(run.outcome) : Fault(written.error().message);
  if (hung) {
    // The thread of a case still runs, so nothing that it uses may be destroyed.
    std::error_code ignored;
    std::filesystem::remove_all(scratch.path(), ignored);
    std::_Exit(code);
  }
  return code;
}

int DoList() {
  for (const Case& subject : AllCases()) {
    std::printf("%-28s %-8s %s\n", std::string(subject.id).c_str(),
                std::string(subject.clause).c_str(), std::string(subject.title).c_str());
  }
  return 0;
}

int DoExplain(const std::string& id) {
  const Case* const subject = FindCase(id);
  if (subject == nullptr) return Fault("there is no case " + id + "; see `conformance list`");
  const auto print = [](const char* name, std::string_view text) {
    std::printf("%-12s %.*s\n", name, static_cast<int>(text.size()), text.data());
  };
  print("case", subject->id);
  print("title", subject->title);
  print("clause", "PROTOCOL.md " + std::string(subject->clause));
  if (!subject->version_1_clause.empty()) {
    print("version 1", "PROTOCOL.md " + std::string(subject->version_1_clause));
  }
  print("level", subject->level == Level::kMust ? "MUST" : "SHOULD");
  print("requires", subject->requirement);
  if (subject->judge != nullptr) {
    print("judged", "over stdio, by the judge itself");
  } else {
    print("workers", std::to_string(subject->workers));
  }
  for (const Mutant& mutant : subject->mutants) {
    print("fails for", std::string(mutant.name) +
                           (mutant.kind == Mutant::Kind::kWorker ? " (a worker)" : " (a pool)"));
  }
  return 0;
}

int DoSelfTest() {
  ScratchFolder scratch;
  if (auto created = scratch.Create(); !created) return Fault(created.error().ToString());
  int failed = 0;
  for (const SelfTestResult& result : SelfTest(scratch)) {
    std::printf("%s  %s\n", result.passed ? "ok    " : "FAULT ", result.what.c_str());
    if (!result.passed) std::printf("        observed: %s\n", Printable(result.observed).c_str());
    failed += !result.passed;
  }
  std::printf("%s\n", failed == 0 ? "the judge can say no" : "the judge cannot be trusted");
  return failed == 0 ? 0 : kUsage;
}

void AddRunFlags(CLI::App& run, RunFlags& flags) {
  run.add_option("--transport", flags.transport, "transport to the worker")
      ->check(CLI::IsMember({"stdio", "grpc"}))
      ->capture_default_str();
  run.add_option("--codec", flags.codec, "stdio: the codecs to offer")
      ->check(CLI::IsMember({"auto", "json", "msgpack"}))
      ->capture_default_str();
  run.add_flag("--no-handshake", flags.no_handshake,
               "stdio, with --codec: speak that codec from the first frame on, to a worker that "
               "expects no handshake");
  run.add_flag("--strict", flags.subject.strict,
               "a broken SHOULD of PROTOCOL.md is red, not a warning");
  run.add_option("--expect-version", flags.subject.expected_version,
                 "red unless the worker agrees to this protocol version, 1 or 2; without it, a "
                 "worker that fails to agree to 2 is judged by version 1")
      ->check(CLI::Range(1, 2).description(""));
  run.add_option("--env", flags.variables,
                 "adds a variable for the worker: NAME passes the judge's on, NAME* all that begin "
                 "so, NAME=VALUE sets one; repeatable")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  run.add_option("--case", flags.patterns, "only the matching cases, such as 'str/**'; repeatable")
      ->allow_extra_args(false);
  run.add_option("--out", flags.out, "a folder for junit.xml and report.json");
  run.add_option("worker", flags.subject.argv,
                 "after `--`, the worker's command line; {port}, {socket} and {worker_id} are "
                 "filled in")
      ->required()
      ->type_name("-- WORKER ARGV...");
  run.footer(
      kRunExamples +
      InheritedVariablesText("Environment: a worker inherits these variables of the judge, if set:",
                             "and those of --env."));
}

// Checks flags that depend on each other, and completes the subject.
void CompleteSubject(const CLI::App& run, RunFlags& flags) {
  if (run.count("--codec") > 0 && flags.transport != "stdio") {
    throw CLI::ValidationError("--codec", "is for --transport stdio");
  }
  if (flags.no_handshake && flags.codec == "auto") {
    throw CLI::ValidationError("--no-handshake", "needs --codec json or --codec msgpack");
  }
  flags.subject.transport = TransportFromFlag(flags.transport);
  flags.subject.codec = CodecFromName(flags.codec);
  flags.subject.handshake = !flags.no_handshake;
  auto variables = ParseWorkerVariables(flags.variables);
  if (!variables) throw CLI::ValidationError(variables.error().message);
  flags.subject.variables = std::move(*variables);
}

int Main(int argc, char** argv) {
  CLI::App app("Judges a worker executable by PROTOCOL.md.");
  app.name("conformance");
  app.require_subcommand(1);
  app.footer(
      "Exit code: 0 green; 1 red: a case failed or could not be run; 2 usage, or the judge itself\n"
      "failed; 3 nothing ran: no case matched, or none applied; 130 interrupted.");

  RunFlags flags;
  CLI::App* const run = app.add_subcommand("run", "judge a worker");
  AddRunFlags(*run, flags);
  app.add_subcommand("list", "list the cases");
  std::string id;
  CLI::App* const explain =
      app.add_subcommand("explain", "the requirement of a case, its clause and its mutants");
  explain->add_option("id", id, "an id of `conformance list`")->required();
  app.add_subcommand("self-test", "prove, without a worker, that the judge can say no");
  try {
    app.parse(argc, argv);
    CompleteSubject(*run, flags);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (run->parsed()) return DoRun(flags, argv[0]);
  if (explain->parsed()) return DoExplain(id);
  return app.got_subcommand("list") ? DoList() : DoSelfTest();
}

}  // namespace
}  // namespace snakepit::conformance

int main(int argc, char** argv) {
  // `bazel run` starts a program in a folder of its own, and this variable names the user's, from
  // which relative paths are meant.
  if (const char* directory = std::getenv("BUILD_WORKING_DIRECTORY")) (void)!chdir(directory);
  return snakepit::conformance::Main(argc, argv);
}
