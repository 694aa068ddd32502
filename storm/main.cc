// storm: a storm against real worker processes.
#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "src/base/fd.h"
#include "storm/storm.h"

namespace snakepit::storm {
namespace {

constexpr int kRed = 1;
constexpr int kUsage = 2;
constexpr int kInterrupted = 130;

// Blocks the signals, also in later threads.
Result<UniqueFd> TakeInterrupts() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd.valid()) return Fail(ErrnoError("signalfd", errno));
  return fd;
}

int Main(int argc, char** argv) {
  // One arena, since the remains of a round in the arenas of its threads would blur the figures.
  mallopt(M_ARENA_MAX, 1);
  StormOptions options;
  std::string transport = "both";
  int seconds = static_cast<int>(options.duration.count());
  CLI::App app(
      "Kills, stops, slows and corrupts the workers of a pool while many threads call it,\n"
      "and checks the outcome of each call. Exit code: 0 all rules held, 1 a rule was broken,\n"
      "2 usage, 130 interrupted.",
      "storm");
  app.add_option("--transport", transport,
                 "Transport of the workers; both, one after the other, by default")
      ->check(CLI::IsMember({"stdio", "grpc", "both"}).description(""))
      ->type_name("stdio|grpc|both");
  app.add_option("--seconds", seconds, "Duration on each transport; 30 by default")
      ->check(CLI::Range(1, 1'000'000).description(""))
      ->type_name("N");
  app.add_option("--seed", options.seed, "Seed of calls and faults; 1 by default")->type_name("N");
  app.add_option("--workers", options.workers, "Number of worker processes; 4 by default")
      ->check(CLI::Range(1, 100).description(""))
      ->type_name("N");
  app.add_option("--callers", options.callers, "Number of threads that call; 16 by default")
      ->check(CLI::Range(1, 1'000).description(""))
      ->type_name("N");
  app.add_option("--plant", options.plant)->check(CLI::IsMember({"double"}))->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "storm: %s\nSee: storm --help\n", error.what());
    return kUsage;
  }
  options.duration = std::chrono::seconds(seconds);

  const Result<UniqueFd> interrupts = TakeInterrupts();
  if (!interrupts) {
    std::fprintf(stderr, "storm: %s\n", interrupts.error().ToString().c_str());
    return kUsage;
  }
  options.interrupt_fd = interrupts->get();
  std::vector<TransportKind> transports;
  if (transport != "grpc") transports.push_back(TransportKind::kStdio);
  if (transport != "stdio") transports.push_back(TransportKind::kGrpc);
  bool red = false;
  for (const TransportKind each : transports) {
    options.transport = each;
    options.repeat = fmt::format(
        "./bazelw run //storm -- --transport {} --seconds {} --seed {} --workers {} "
        "--callers {}",
        TransportFlag(each), seconds, options.seed, options.workers, options.callers);
    if (!options.plant.empty()) options.repeat += " --plant " + options.plant;
    const Verdict verdict = RunStorm(options);
    if (verdict == Verdict::kInterrupted) return kInterrupted;
    red = red || verdict == Verdict::kRed;
  }
  return red ? kRed : 0;
}

}  // namespace
}  // namespace snakepit::storm

int main(int argc, char** argv) { return snakepit::storm::Main(argc, argv); }
