#include "storm/storm.h"

#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/quote.h"
#include "src/process/proc_figures.h"
#include "storm/callers.h"
#include "storm/check.h"
#include "storm/faults.h"
#include "storm/recorder.h"
#include "storm/report.h"
#include "storm/storm_pool.h"

namespace snakepit::storm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The first round covers memory and threads that are made once and kept.
constexpr seconds kWarmUp{3};
// Longest round, since its history is held in memory.
constexpr seconds kLongestRound{10};
// Shortest round. A shorter rest of the time is left out.
constexpr seconds kShortestRound{2};
constexpr seconds kProgressInterval{3};
// Longest time from the last fault until all workers are ready and nothing is in flight, with slow
// starts and ignored cancellations.
constexpr seconds kQuietLimit{20};
// Duration of the last calls of a round: long enough that each worker gets one.
constexpr milliseconds kLastCall{50};
constexpr int kLastAttempts = 3;
// The pool closes descriptors and joins threads on threads of its own.
constexpr seconds kFiguresLimit{10};
constexpr milliseconds kPollInterval{10};

// Most growth from the end of the first round to that of a later one. gRPC's threads come and go
// with the load.
constexpr int kMoreGrpcThreads = 8;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kMoreRssBytes = INT64_MAX / 2;  // sanitizers keep freed memory
#else
constexpr int64_t kMoreRssBytes = 6 << 20;
#endif

// Polls until the condition is true. False after the time limit.
template <typename Condition>
bool Await(milliseconds limit, const Condition& condition) {
  const Time end = Now() + limit;
  while (!condition()) {
    if (Now() >= end) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
  return true;
}

class Storm {
 public:
  explicit Storm(const StormOptions& options)
      : options_(options), report_(options), subject_(options, report_.begin()) {}

  Verdict Run() {
    if (Result<void> started = subject_.Start(); !started) {
      std::printf("%s: the pool did not start: %s\n%s\n", TransportName(options_.transport).data(),
                  started.error().ToString().c_str(),
                  Printable(started.error().stderr_tail).c_str());
      return Verdict::kRed;
    }
    recorder_.emplace(subject_.pool());
    faults_.emplace(subject_.pool(), *recorder_, options_.seed, subject_.control_file(),
                    options_.workers);
    callers_.emplace(subject_.pool(), *recorder_, options_.seed, options_.callers);
    const Time end = Now() + options_.duration;
    for (int round = 0; round == 0 || Now() + kShortestRound < end; ++round) {
      const Time longest = round == 0 ? kWarmUp : kLongestRound;
      RunRound(round, std::min(Now() + longest, end));
      // Later rounds would bury the output of a red one.
      if (interrupted_ || report_.is_red()) break;
    }
    End();
    Summarise();
    if (interrupted_) return Verdict::kInterrupted;
    return report_.is_red() ? Verdict::kRed : Verdict::kGreen;
  }

 private:
  void RunRound(int round, Time end) {
    faults_->Start(round);
    callers_->Start(round);
    AwaitEndOfRound(end);
    faults_->Stop();
    callers_->Stop();
    // From here on each call ends by its own deadline at the latest.
    if (!recorder_->AwaitOutcomes(kQuietLimit)) {
      report_.Fault("calls have no outcome");
      CheckHistory();
      Summarise();
      std::_Exit(1);  // the callers would wait for ever
    }
    callers_->Join();
    calls_ = recorder_->Take();
    BecomeQuiet();
    MakeLastCalls();
    CheckHistory();
    CompareFigures(round);
  }

  void AwaitEndOfRound(Time end) {
    for (;;) {
      const Time now = Now();
      if (now >= end) return;
      const auto left =
          std::chrono::ceil<milliseconds>(std::min<Time>(end - now, kProgressInterval));
      pollfd entry{.fd = options_.interrupt_fd, .events = POLLIN, .revents = 0};
      if (poll(&entry, 1, static_cast<int>(left.count())) > 0) {
        return Interrupt();
      }
      report_.Progress(recorder_->tally(), *faults_, subject_.pool().Stats());
    }
  }

  void Interrupt() {
    interrupted_ = true;
    std::fprintf(stderr, "storm: stopping; interrupt again to end at once\n");
    // The next signal has its default action.
    signalfd_siginfo signal;
    (void)!read(options_.interrupt_fd, &signal, sizeof signal);
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_UNBLOCK, &all, nullptr);
  }

  void BecomeQuiet() {
    Pool& pool = subject_.pool();
    const bool quiet = Await(kQuietLimit, [&] {
      const PoolStats stats = pool.Stats();
      const std::vector<WorkerInfo> workers = pool.Workers();
      return stats.workers_ready == stats.workers && stats.calls_in_flight == 0 &&
             stats.calls_queued == 0 && stats.breaker == BreakerState::kClosed &&
             static_cast<int>(workers.size()) == stats.workers && !faults_->HasKilledOneOf(workers);
    });
    if (quiet) return;
    std::string workers;
    for (const WorkerInfo& worker : pool.Workers()) {
      workers += fmt::format("; worker {} (pid {}) is {}, with {} calls", worker.id, worker.pid,
                             WorkerStateName(worker.state), worker.calls_in_flight);
    }
    const PoolStats stats = pool.Stats();
    report_.Fault(fmt::format(
        "not at rest and full strength {} s after the last fault: {} calls queued, {} in flight{}; "
        "the last start that failed: {}",
        kQuietLimit.count(), stats.calls_queued, stats.calls_in_flight, workers,
        stats.last_start_error));
  }

  // Each worker serves, and every call succeeds.
  void MakeLastCalls() {
    std::set<int> all, served;
    for (const WorkerInfo& worker : subject_.pool().Workers()) all.insert(worker.id);
    for (int attempt = 0; attempt < kLastAttempts && served != all; ++attempt) {
      for (size_t i = 0; i < all.size(); ++i) {
        CallPlan plan;
        plan.call.method = Method::kSubmit;
        plan.call.timeout = plan.call.queue_timeout = kQuietLimit;
        plan.call.work = kLastCall;
        plan.call.detail = "after the storm";
        plan.args["ms"] = static_cast<int64_t>(kLastCall.count());
        recorder_->Submit(std::move(plan));
      }
      recorder_->AwaitOutcomes(2 * kQuietLimit);  // the check finds calls without an outcome
      for (Call& call : recorder_->Take()) {
        if (call.error) report_.Fault("after the storm: " + call.error->ToString());
        if (call.outcomes == 1 && !call.error) served.insert(call.worker);
        calls_.push_back(std::move(call));
      }
    }
    if (served != all) report_.Fault("not every worker serves after the storm");
  }

  void CheckHistory() {
    History history;
    history.calls = std::exchange(calls_, {});
    std::vector<Call> rest = recorder_->Take();
    std::move(rest.begin(), rest.end(), std::back_inserter(history.calls));
    history.faults = faults_->Take();
    history.journal = subject_.ReadJournal();
    for (const WorkerInfo& worker : subject_.pool().Workers()) {
      history.workers_at_end.push_back(worker.pid);
      pids_.insert(worker.pid);
    }
    for (const storm::Start& start : history.journal.starts) pids_.insert(start.pid);
    starts_ += history.journal.starts.size();
    executions_ += history.journal.executions.size();
    const Limits limits = subject_.limits();
    report_.Violations(history, Check(history, limits));
  }

  // Compares descriptors, threads and memory at rest with those after the first round.
  void CompareFigures(int round) {
    malloc_trim(0);
    std::optional<ProcFigures> now;
    const bool flat = Await(kFiguresLimit, [&] {
      const auto figures = ReadProcFigures(getpid());
      if (!figures) return false;
      now = *figures;
      return !first_ || IsFlat(*now);
    });
    if (!now) return report_.Fault("/proc cannot be read");
    figures_.push_back(fmt::format("after round {}: {} descriptors, {} threads, {:.1f} MiB", round,
                                   now->open_fds, now->threads,
                                   static_cast<double>(now->rss_bytes) / (1 << 20)));
    if (!first_) first_ = now;
    if (!flat) report_.Fault("the pool grows: " + figures_.front() + "; " + figures_.back());
  }

  bool IsFlat(const ProcFigures& now) const {
    const bool grpc = options_.transport == TransportKind::kGrpc;
    return now.open_fds <= first_->open_fds &&
           now.threads <= first_->threads + (grpc ? kMoreGrpcThreads : 0) &&
           now.rss_bytes <= first_->rss_bytes + kMoreRssBytes;
  }

  void End() {
    const Tally tally = recorder_->tally();
    if (10 * tally.succeeded < tally.calls) {
      report_.Fault("less than a tenth of the calls succeeded: such a storm proves nothing");
    }
    subject_.Shutdown();
    const Journal late = subject_.ReadJournal();
    if (!late.executions.empty()) {
      report_.Fault(fmt::format("call {} was executed after all calls had ended",
                                late.executions.front().id));
    }
    for (const storm::Start& start : late.starts) pids_.insert(start.pid);
    for (const pid_t pid : subject_.Remaining(pids_)) {
      report_.Fault(fmt::format("worker process {} is left after Shutdown", pid));
    }
  }

  void Summarise() {
    const PoolStats stats = subject_.pool().Stats();
    std::vector<std::string> lines = {
        fmt::format("affinity {}; {} executions by {} worker processes; {} restarts, {} recycled, "
                    "the breaker opened {} times",
                    AffinityName(subject_.limits().affinity), executions_, starts_, stats.restarts,
                    stats.recycled, stats.breaker_opened)};
    lines.insert(lines.end(), figures_.begin(), figures_.end());
    report_.Summarise(recorder_->tally(), *faults_, lines, subject_.LogTail());
  }

  const StormOptions& options_;
  Report report_;
  StormPool subject_;
  std::optional<Recorder> recorder_;
  std::optional<Callers> callers_;
  std::optional<Faults> faults_;
  std::vector<Call> calls_;  // this round's
  std::set<pid_t> pids_;     // all processes that were seen
  size_t starts_ = 0;
  size_t executions_ = 0;
  std::optional<ProcFigures> first_;
  std::vector<std::string> figures_;
  bool interrupted_ = false;
};

}  // namespace

Verdict RunStorm(const StormOptions& options) { return Storm(options).Run(); }

}  // namespace snakepit::storm
