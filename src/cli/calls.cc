#include "src/cli/calls.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "src/adapters/bundled_worker.h"
#include "src/base/fd.h"
#include "src/cli/hints.h"
#include "src/cli/summary.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// Shorter than the default, since somebody waits at a terminal.
constexpr std::chrono::milliseconds kStopGrace{1'000};

Result<Adapter> MakeAdapter(const CallArguments& arguments) {
  Result<Adapter> adapter = arguments.worker.empty() ? BundledWorker(arguments.transport)
                                                     : Adapter{.argv = arguments.worker};
  if (!adapter) return adapter;
  if (arguments.transport == TransportKind::kGrpc) {
    adapter->transport = GrpcTransport{};
    return adapter;
  }
  StdioTransport stdio{.negotiate = arguments.handshake};
  if (arguments.codec) stdio.codecs = {*arguments.codec};
  adapter->transport = std::move(stdio);
  return adapter;
}

Result<PoolOptions> MakePoolOptions(const CallArguments& arguments, Output& output) {
  Result<Adapter> adapter = MakeAdapter(arguments);
  if (!adapter) return Fail(std::move(adapter.error()));
  arguments.variables.AddTo(*adapter);
  PoolOptions options{.adapter = std::move(*adapter), .workers = arguments.workers};
  options.adapter.start_timeout = arguments.start_timeout;
  options.stop_grace = kStopGrace;
  options.raw_worker_lines = arguments.raw;
  options.log = [&output, verbose = arguments.verbose](LogLevel level, std::string_view text) {
    output.Log(level, text, verbose);
  };
  return options;
}

// The calls of one command line on one pool.
class CallRun {
 public:
  CallRun(const CallArguments& arguments, Pool& pool, Interrupts& interrupts, Output& output)
      : arguments_(arguments), pool_(pool), interrupts_(interrupts), output_(output) {
    options_.timeout = arguments.timeout;
    if (!arguments.session.empty()) options_.session = arguments.session;
  }

  Summary Run() {
    const auto threads =
        static_cast<int>(std::min<int64_t>(arguments_.parallel, arguments_.repeat));
    std::vector<Summary> summaries(threads);
    {
      std::vector<std::jthread> callers;
      try {
        for (Summary& summary : summaries) {
          callers.emplace_back([this, &summary] { CallRepeatedly(summary); });
        }
      } catch (...) {  // no more threads: those that run make no more calls
        begun_ = arguments_.repeat;
        throw;
      }
    }
    Summary all;
    for (const Summary& summary : summaries) all.Merge(summary);
    return all;
  }

 private:
  void CallRepeatedly(Summary& summary) {
    while (!interrupts_.requested() && begun_.fetch_add(1) < arguments_.repeat) {
      const auto start = steady_clock::now();
      const Result<void> result = arguments_.stream ? Stream() : Call();
      if (result) {
        summary.AddSuccess(steady_clock::now() - start);
      } else if (interrupts_.requested()) {
        ++summary.cut_short;
      } else {
        summary.AddFailure(result.error());
        if (arguments_.repeat > 1) output_.FailureLine(result.error());
      }
    }
  }

  Result<void> Call() {
    const Result<Value> result = pool_.Execute(arguments_.command, arguments_.args, options_);
    if (!result) return Fail(result.error());
    Print(*result);
    return {};
  }

  Result<void> Stream() {
    const auto limit = arguments_.timeout.value_or(PoolOptions().stream_timeout);
    const auto deadline = steady_clock::now() + limit;
    bool is_read = true;
    const auto print = [&](const Chunk& chunk) {
      is_read = Print(chunk.value, deadline);
      return is_read && !interrupts_.requested();
    };
    const Result<int64_t> result =
        pool_.ExecuteStream(arguments_.command, arguments_.args, print, options_);
    if (!is_read) {
      return Fail(Error{.code = ErrorCode::kDeadlineExceeded,
                        .message = "its limit of " + std::to_string(limit.count()) +
                                   " ms passed before its next chunk could be written to stdout",
                        .may_have_run = true});
    }
    if (!result) return Fail(result.error());
    return {};
  }

  // False if the deadline passed: the time of a stream goes on while its chunks are printed. A
  // result, without a deadline, waits for its reader until a stop is requested.
  bool Print(const Value& value, std::optional<steady_clock::time_point> deadline = {}) {
    const int error = output_.Result(value, deadline);
    if (error == ETIMEDOUT) return false;
    if (error == 0 || interrupts_.requested()) return true;
    if (error != EPIPE) output_.Line("error: cannot write to stdout: " + ErrnoMessage(error));
    interrupts_.Request(error == EPIPE ? kOutputGoneExitCode : 1);
    return true;
  }

  const CallArguments& arguments_;
  Pool& pool_;
  Interrupts& interrupts_;
  Output& output_;
  CallOptions options_;
  std::atomic<int64_t> begun_ = 0;
};

// Runs after the pool's shutdown, so that all lines of the workers stand above.
void PrintEnd(const Summary& summary, std::chrono::nanoseconds elapsed,
              const CallArguments& arguments, Output& output) {
  for (const auto& [code, error] : summary.failures) {
    const std::string hint = HintFor(error, arguments);
    if (arguments.repeat == 1) {
      output.Failure(error, hint);
    } else if (!hint.empty()) {
      output.Hint(std::string(ErrorCodeName(code)) + ": " + hint);
    }
  }
  if (arguments.repeat > 1) output.Line(summary.ToText(elapsed));
}

}  // namespace

int RunCalls(const CallArguments& arguments, Interrupts& interrupts, Output& output) {
  Result<PoolOptions> options = MakePoolOptions(arguments, output);
  if (!options) {
    output.Failure(options.error(), {});
    return 1;
  }
  interrupts.SetExitsAtOnce(true);
  Result<Pool> pool = Pool::Start(std::move(*options));
  interrupts.SetExitsAtOnce(false);
  if (!pool) {
    output.Failure(pool.error(), HintFor(pool.error(), arguments));
    return 1;
  }
  Summary summary;
  {
    const PoolStopper stopper(interrupts, *pool);
    const auto start = steady_clock::now();
    summary = CallRun(arguments, *pool, interrupts, output).Run();
    const auto elapsed = steady_clock::now() - start;
    pool->Shutdown();
    if (interrupts.exit_code() != kOutputGoneExitCode) {
      PrintEnd(summary, elapsed, arguments, output);
    }
  }
  if (interrupts.requested()) return interrupts.exit_code();
  return summary.failed > 0 ? 1 : 0;
}

}  // namespace snakepit
