#include "src/cli/demo.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "src/adapters/bundled_worker.h"
#include "src/cli/console.h"
#include "src/cli/demo_steps.h"
#include "src/cli/duration.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

struct Part {
  TransportKind transport;
  const char* explanation;
};

constexpr Part kParts[] = {
    {TransportKind::kStdio, "frames over the stdin and stdout of each worker"},
    {TransportKind::kGrpc, "each worker is a gRPC server on a Unix socket"},
};

class Demo {
 public:
  Demo(const DemoArguments& arguments, Interrupts& interrupts, Output& output, Console& console)
      : arguments_(arguments), interrupts_(interrupts), output_(output), console_(console) {}

  int Run() {
    const auto start = steady_clock::now();
    console_.Title("A pool of worker processes");
    console_.Quiet(fmt::format(
        "A pool keeps workers running, gives each call to one that is free, and replaces those\n"
        "that die. Here it has {} workers, written in Python; first over stdio, then over gRPC.",
        arguments_.workers));
    std::vector<DemoFigures> figures;
    for (const Part& part : kParts) {
      console_.Section(TransportName(part.transport), part.explanation);
      figures.push_back(RunPart(part));
      if (interrupts_.requested()) return interrupts_.exit_code();
    }
    ShowTable(figures);
    console_.Blank();
    const std::string time = FormatDuration(steady_clock::now() - start);
    if (failed_steps_ == 0) {
      console_.Title(fmt::format("Everything held, in {}.", time));
      console_.Quiet("Next: ./bazelw run //src/cli:snakepit -- exec --help");
    } else {
      console_.Title(fmt::format("{} of the steps did not hold, in {}.", failed_steps_, time));
    }
    return failed_steps_ == 0 ? 0 : 1;
  }

 private:
  DemoFigures RunPart(const Part& part) {
    DemoFigures figures;
    std::optional<Pool> pool = Start(part.transport, figures);
    if (!pool) {
      ++failed_steps_;
      return figures;
    }
    const PoolStopper stopper(interrupts_, *pool);
    DemoSteps steps(*pool, console_, interrupts_, figures);
    for (bool (DemoSteps::*step)() : {&DemoSteps::Ping, &DemoSteps::Stream, &DemoSteps::Session,
                                      &DemoSteps::Kill, &DemoSteps::Stop}) {
      if (!interrupts_.requested() && !(steps.*step)()) ++failed_steps_;
    }
    return figures;
  }

  std::optional<Pool> Start(TransportKind transport, DemoFigures& figures) {
    console_.Step("start", "All workers are started at once; the pool waits until they are ready.");
    console_.Progress(fmt::format("starting {} workers", arguments_.workers));
    Result<Adapter> adapter = BundledWorker(transport);
    if (!adapter) {
      console_.DidNotHold(adapter.error().ToString());
      return std::nullopt;
    }
    PoolOptions options{.adapter = std::move(*adapter), .workers = arguments_.workers};
    options.log = [this](LogLevel level, std::string_view text) {
      output_.Log(level, text, /*verbose=*/false);
    };
    interrupts_.SetExitsAtOnce(true);
    const auto start = steady_clock::now();
    Result<Pool> pool = Pool::Start(std::move(options));
    figures.start = steady_clock::now() - start;
    interrupts_.SetExitsAtOnce(false);
    if (!pool) {
      console_.DidNotHold(pool.error().ToString());
      return std::nullopt;
    }
    for (const WorkerInfo& worker : pool->Workers()) {
      console_.Detail(fmt::format("worker {} is pid {}, ready after {}", worker.id, worker.pid,
                                  FormatDuration(worker.start_time)));
    }
    console_.Held(fmt::format("{} workers are ready after {}", arguments_.workers,
                              FormatDuration(figures.start)));
    return std::move(*pool);
  }

  void ShowTable(const std::vector<DemoFigures>& figures) {
    console_.Section("side by side", "the same commands, the same worker, two transports");
    std::vector<std::vector<std::string>> rows(1, {""});
    for (const Part& part : kParts) rows[0].emplace_back(TransportName(part.transport));
    const auto add = [&](std::string name, auto text) {
      rows.push_back({std::move(name)});
      for (const DemoFigures& of : figures) rows.back().push_back(text(of));
    };
    const auto add_time = [&](std::string name, std::chrono::nanoseconds DemoFigures::*time) {
      add(std::move(name), [time](const DemoFigures& of) {
        return (of.*time).count() == 0 ? "-" : FormatDuration(of.*time);
      });
    };
    const auto add_memory = [&](std::string name, int64_t DemoFigures::*bytes) {
      add(std::move(name), [bytes](const DemoFigures& of) {
        return of.*bytes == 0 ? "-" : fmt::format("{:.1f} MiB", of.*bytes / 1048576.0);
      });
    };
    add_time(fmt::format("start of {} workers", arguments_.workers), &DemoFigures::start);
    add_time("round trip of a ping, p50", &DemoFigures::round_trip_p50);
    add_time("round trip of a ping, p99", &DemoFigures::round_trip_p99);
    add_time("time to the first chunk, p50", &DemoFigures::first_chunk);
    add_time("killed worker replaced", &DemoFigures::replacement);
    add_memory("memory of a worker (RSS)", &DemoFigures::worker_rss_bytes);
    add_memory("memory of the pool (RSS of this process)", &DemoFigures::pool_rss_bytes);
    console_.Table(rows);
  }

  const DemoArguments& arguments_;
  Interrupts& interrupts_;
  Output& output_;
  Console& console_;
  int failed_steps_ = 0;
};

}  // namespace

int RunDemo(const DemoArguments& arguments, Interrupts& interrupts, Output& output) {
  Console console(ConsoleStyle::Of(STDOUT_FILENO), [&interrupts, &output](std::string_view text) {
    if (interrupts.requested()) return;
    const int error = output.Text(text);
    if (error == 0 || error == ECANCELED) return;
    interrupts.Request(error == EPIPE ? kOutputGoneExitCode : 1);
  });
  return Demo(arguments, interrupts, output, console).Run();
}

}  // namespace snakepit
