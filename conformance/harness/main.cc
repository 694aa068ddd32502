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

namespace snakepit::conformance {
namespace {

constexpr int kUsage = static_cast<int>(Outcome::kHarnessFault);

struct RunFlags {
  Subject subject;
  std::vector<std::string> patterns;
  std::string out;
};

int Fault(std::string_view message) {
  std::fprintf(stderr, "conformance: %s\n", Printable(message).c_str());
  return kUsage;
}

// What a run prints. That nobody reads it keeps neither the run nor a signal from going on; at the
// end it is waited for, until a signal comes.
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
  // How often it looks for a signal.
  static constexpr std::chrono::milliseconds kLook{100};

  bool WasInterrupted() const {
    pollfd fd{.fd = interrupt_fd_, .events = POLLIN, .revents = 0};
    return poll(&fd, 1, 0) > 0;
  }

  const int interrupt_fd_;
  Writer out_{STDOUT_FILENO};
};

// Ctrl-C and SIGTERM end the run in order; the threads that are started later leave them to it.
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
    Fault("no case matches; `conformance list` names them all");
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
                flags.subject.transport.c_str(), options.slowdown);
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
    // The thread of a case still runs: nothing it uses may be destroyed.
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
  if (subject == nullptr) return Fault("there is no case " + id + "; `conformance list` has them");
  const auto print = [](const char* name, std::string_view text) {
    std::printf("%-12s %.*s\n", name, static_cast<int>(text.size()), text.data());
  };
  print("case", subject->id);
  print("title", subject->title);
  print("clause", "PROTOCOL.md " + std::string(subject->clause));
  if (!subject->version_1_clause.empty()) {
    print("version 1", "PROTOCOL.md " + std::string(subject->version_1_clause));
  }
  print("requires", subject->requirement);
  print("workers", std::to_string(subject->workers));
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

int Main(int argc, char** argv) {
  CLI::App app("Judges a worker executable by PROTOCOL.md.");
  app.name("conformance");
  app.require_subcommand(1);
  app.footer(
      "Exit code: 0 green; 1 red: a case failed or could not be run; 2 the judge itself failed, "
      "or\n"
      "was used wrongly; 3 nothing ran: no case matched, or none was applicable; 130 interrupted.");

  RunFlags flags;
  CLI::App* const run = app.add_subcommand("run", "judge a worker");
  run->add_option("--transport", flags.subject.transport, "how the worker is spoken to")
      ->check(CLI::IsMember({"stdio", "grpc"}))
      ->capture_default_str();
  CLI::Option* const codec =
      run->add_option("--codec", flags.subject.codec, "stdio: the codecs that are offered")
          ->check(CLI::IsMember({"auto", "json", "msgpack"}))
          ->capture_default_str();
  bool no_handshake = false;
  run->add_flag(
      "--no-handshake", no_handshake,
      "stdio, with --codec: that codec from the first frame on, for a worker that expects "
      "no handshake");
  run->add_option("--expect-version", flags.subject.expected_version,
                  "red unless the worker agrees to this version of the protocol, 1 or 2; a worker "
                  "that loses it is else judged by version 1")
      ->check(CLI::Range(1, 2).description(""));
  std::vector<std::string> variables;
  run->add_option("--env", variables,
                  "a variable for the worker: NAME passes the judge's on, NAME* all that begin so, "
                  "NAME=VALUE sets it; repeatable")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  run->add_option("--case", flags.patterns, "only the cases that match, as 'str/**'; repeatable")
      ->allow_extra_args(false);
  run->add_option("--out", flags.out, "a folder for junit.xml and report.json");
  run->add_option("worker", flags.subject.argv,
                  "after `--`, the worker's command line; {port}, {socket} and {worker_id} are "
                  "filled in")
      ->required()
      ->type_name("-- WORKER ARGV...");
  run->footer(
      std::string("Examples:\n"
                  "  conformance run --transport stdio -- python3 my_worker.py --mode pool-worker\n"
                  "  conformance run --transport grpc -- python3 my_worker.py --port {port}\n"
                  "  conformance run --transport grpc -- ./worker --socket {socket}\n"
                  "  conformance run --transport stdio --codec msgpack --case 'str/**' --out "
                  "/tmp/report \\\n"
                  "      -- ./worker\n\n") +
      InheritedVariablesText("Environment: of the judge's a worker has, where they are set,",
                             "and what --env adds."));
  app.add_subcommand("list", "name the cases");
  std::string id;
  CLI::App* const explain = app.add_subcommand("explain", "what a case requires, and why");
  explain->add_option("id", id, "as in `conformance list`")->required();
  app.add_subcommand("self-test", "prove, without a worker, that the judge can say no");

  try {
    app.parse(argc, argv);
    if (codec->count() > 0 && flags.subject.transport != "stdio") {
      throw CLI::ValidationError("--codec", "is for --transport stdio");
    }
    if (no_handshake && flags.subject.codec == "auto") {
      throw CLI::ValidationError("--no-handshake", "needs --codec json or --codec msgpack");
    }
    flags.subject.handshake = !no_handshake;
    auto parsed = ParseWorkerVariables(variables);
    if (!parsed) throw CLI::ValidationError(parsed.error().message);
    flags.subject.variables = std::move(*parsed);
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
  // `bazel run` starts a program in a folder of its own and says where the user is: relative paths
  // are meant from there.
  if (const char* directory = std::getenv("BUILD_WORKING_DIRECTORY")) (void)!chdir(directory);
  return snakepit::conformance::Main(argc, argv);
}
