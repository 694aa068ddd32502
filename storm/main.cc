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

// Blocked from now on, in the threads to come too.
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
  // Memory is to be measured, and what a round leaves in an arena for each thread says nothing.
  mallopt(M_ARENA_MAX, 1);
  StormOptions options;
  std::string transport = "both";
  int seconds = static_cast<int>(options.duration.count());
  CLI::App app(
      "Kills, stops, slows and misleads the workers of a pool while many threads call it,\n"
      "and checks what became of each call. Ends with 0 when all is as it must be, 1 when\n"
      "not, 130 when it was interrupted.",
      "storm");
  app.add_option("--transport", transport, "One, or one after the other; both by default")
      ->check(CLI::IsMember({"stdio", "grpc", "both"}).description(""))
      ->type_name("stdio|grpc|both");
  app.add_option("--seconds", seconds, "How long, on each transport; 30 by default")
      ->check(CLI::Range(1, 1'000'000).description(""))
      ->type_name("N");
  app.add_option("--seed", options.seed, "What calls and faults are drawn from; 1 by default")
      ->type_name("N");
  app.add_option("--workers", options.workers, "Worker processes; 4 by default")
      ->check(CLI::Range(1, 100).description(""))
      ->type_name("N");
  app.add_option("--callers", options.callers, "Threads that call; 16 by default")
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
  std::vector<Transport> transports;
  if (transport != "grpc") transports.push_back(Transport::kStdio);
  if (transport != "stdio") transports.push_back(Transport::kGrpc);
  bool red = false;
  for (const Transport each : transports) {
    options.transport = each;
    options.repeat = fmt::format(
        "./bazelw run //storm -- --transport {} --seconds {} --seed {} --workers {} "
        "--callers {}",
        each == Transport::kGrpc ? "grpc" : "stdio", seconds, options.seed, options.workers,
        options.callers);
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
