#include "src/pool/pool_impl.h"

#include <random>
#include <string>
#include <utility>
#include <variant>

#include "src/base/quote.h"
#include "src/pool/explain.h"
#include "src/pool/figures.h"
#include "src/pool/options.h"
#include "src/process/proc_figures.h"
#include "src/transport/launch_spec.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

}  // namespace

Pool::Impl::Impl(PoolOptions options, LaunchFactory launches)
    : options_(std::move(options)),
      callbacks_(options_),
      engine_(options_, std::random_device()()),
      fleet_(engine_, options_, callbacks_, std::move(launches)),
      calls_(engine_, options_, callbacks_),
      checkups_(
          engine_, [this](ProcessNumber number) { return fleet_.Find(number); }, options_,
          callbacks_) {}

// --- The engine's handlers ---------------------------------------------------------------------

void Pool::Impl::Apply(const Effect& effect) {
  std::visit(
      Overloaded{
          [this](const DispatchCall& e) { calls_.Dispatch(e, fleet_.Find(e.process)); },
          [this](const EndCall& e) { calls_.End(e); },
          [this](const EndWorkerSession& e) { calls_.EndSession(e, *fleet_.Find(e.process)); },
          [this](const SpawnWorker& e) { fleet_.Spawn(e); },
          [this](const AskWorkerToEnd& e) { fleet_.AskToEnd(e); },
          [this](const KillWorker& e) { fleet_.Kill(e); },
          [this](const DisownProcess& e) { fleet_.Disown(e); },
          [this](const ReportStartTimeout& e) { fleet_.TimeOutStart(e); },
          [this](const CheckWorker& e) { checkups_.Check(e); },
          [this](const MeasureWorker& e) { checkups_.Measure(e); },
          [this](const ReplaceWorker& e)
              ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex) { Announce(e); },
      },
      effect);
}

void Pool::Impl::Announce(const ReplaceWorker& effect) {
  const auto [level, why] = ReplaceText(effect.why);
  engine_.Post(
      [this, level = level, text = fleet_.Find(effect.process)->Name() + std::string(why)] {
        callbacks_.Log(level, text);
      });
}

void Pool::Impl::OnSettled() {
  LogBreaker();
  TellRestartWaiters();
}

void Pool::Impl::LogBreaker() {
  const BreakerState state = engine_.core().supervisor().breaker().state();
  if (std::exchange(logged_breaker_, state) == state) return;
  auto [level, text] = BreakerNews(engine_.State());
  engine_.Post([this, level = level, text = std::move(text)] { callbacks_.Log(level, text); });
}

// A restart that has ended is over for all that wait for it, whatever begins before they wake up.
void Pool::Impl::TellRestartWaiters() {
  const RestartState state = engine_.core().supervisor().restart_state();
  if (restart_waiters_.empty() || state == RestartState::kRunning) return;
  for (RestartWaiter* waiter : restart_waiters_) waiter->state = state;
  restart_waiters_.clear();
  engine_.changed.notify_all();
}

// Nobody knows what an exception that nobody foresaw left undone. Every call has its outcome: it
// ends with its worker.
void Pool::Impl::OnFault() {
  try {
    callbacks_.Log(LogLevel::kError, "the pool's own thread threw " + DescribeException() +
                                         ": a fault of the pool; every worker is replaced");
    fleet_.KillAll();
  } catch (...) {  // there is no memory, say, not even for that
  }
}

// --- The life of the pool ----------------------------------------------------------------------

Result<void> Pool::Impl::Start() {
  if (auto ready = fleet_.EnsureGuardian(); !ready) return ready;
  Error error;
  {
    EngineLock lock(engine_);
    engine_.Begin({.apply =
                       [this](const Effect& effect) {
                         engine_.mutex.AssertHeld();
                         Apply(effect);
                       },
                   .settled =
                       [this] {
                         engine_.mutex.AssertHeld();
                         OnSettled();
                       }},
                  [this] { OnFault(); });
    LogNotInherited();
    engine_.core().Start(steady_clock::now());
    engine_.Settle();
    StartRecord& starts = engine_.starts();
    lock.Wait(engine_.changed, [this, &starts]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex) {
      return starts.first_error || engine_.core().roster().AllReady();
    });
    starts.pool_started = !starts.first_error;
    if (starts.pool_started) return {};
    error = *starts.first_error;
  }
  fleet_.KillAll();
  Shutdown();
  return Fail(std::move(error));
}

// Names alone: a value may be a secret.
void Pool::Impl::LogNotInherited() {
  if (!options_.log) return;
  std::string names;
  for (const std::string& name : NotInherited(options_.adapter)) {
    names += (names.empty() ? "" : ", ") + Printable(name);
  }
  if (names.empty()) return;
  engine_.Post([this, text = "variables that workers do not inherit: " + names] {
    callbacks_.Log(LogLevel::kDebug, text);
  });
}

void Pool::Impl::Shutdown() {
  std::call_once(shut_down_, [this] {
    if (!engine_.has_thread()) return;  // it never started
    {
      EngineLock lock(engine_);
      engine_.core().Stop(steady_clock::now());
      engine_.Settle();
      // The core has a limit for each step of it.
      lock.Wait(engine_.changed, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex) {
        const Core& core = engine_.core();
        return core.roster().AllGone() && core.scheduler().calls() == 0 && calls_.empty();
      });
    }
    fleet_.EndGuardian();
    engine_.End();
    fleet_.RemoveRuntimeDirectory();
  });
}

bool Pool::Impl::Drain(std::chrono::milliseconds timeout) {
  EngineLock lock(engine_);
  engine_.core().Close();
  TellRestartWaiters();
  return lock.WaitUntil(engine_.changed, steady_clock::now() + timeout,
                        [this] { return calls_.empty(); });
}

void Pool::Impl::EndSession(std::string_view session_id) {
  const EngineLock lock(engine_);
  engine_.core().EndSession(session_id, steady_clock::now());
  engine_.Settle();
}

Result<WorkerHealth> Pool::Impl::CheckHealth(int worker_id, std::chrono::milliseconds timeout) {
  return checkups_.CheckHealth(worker_id, timeout);
}

Result<void> Pool::Impl::Restart(std::chrono::milliseconds timeout) {
  if (auto valid = TimeRange("timeout", 1).Check(timeout.count()); !valid) return valid;
  EngineLock lock(engine_);
  if (auto begun = engine_.core().Restart(steady_clock::now()); !begun) {
    return Fail(RefusalError(begun.error(), engine_.State()));
  }
  engine_.Post([this] { callbacks_.Log(LogLevel::kInfo, "every worker is replaced, one by one"); });
  RestartWaiter waiter{.start_failures = engine_.starts().failures};
  restart_waiters_.push_back(&waiter);
  engine_.Settle();
  const bool ended = lock.WaitUntil(engine_.changed, steady_clock::now() + timeout,
                                    [&waiter] { return waiter.state != RestartState::kRunning; });
  if (!ended) {
    std::erase(restart_waiters_, &waiter);
    return Fail(ErrorCode::kDeadlineExceeded,
                PoolPrefix(options_) + "not every worker was replaced within " +
                    Milliseconds(timeout) + "; it goes on: " + QueueText(engine_.State()));
  }
  if (waiter.state == RestartState::kDone) return {};
  if (engine_.core().closed()) return Fail(RefusalError(Refusal::kClosed, engine_.State()));
  const StartRecord& starts = engine_.starts();
  if (starts.failures > waiter.start_failures) return Fail(*starts.last_error);
  return Fail(RefusalError(Refusal::kBreakerOpen, engine_.State()));
}

Result<void> Pool::Impl::Resize(int workers) {
  if (auto valid = Range{"workers", 1, kMaxWorkers}.Check(workers); !valid) return valid;
  const EngineLock lock(engine_);
  if (auto resized = engine_.core().Resize(workers, steady_clock::now()); !resized) {
    return Fail(RefusalError(resized.error(), engine_.State()));
  }
  engine_.Settle();
  engine_.changed.notify_all();
  return {};
}

// --- Figures -----------------------------------------------------------------------------------

PoolStats Pool::Impl::Stats() const {
  const EngineLock lock(engine_);
  PoolStats stats = FiguresOf(engine_.core(), steady_clock::now());
  const CallTable::Counts counts = calls_.counts();
  stats.calls_accepted = counts.accepted;
  stats.calls_succeeded = counts.succeeded;
  stats.calls_failed = counts.failed;
  stats.calls_refused = counts.refused;
  const StartRecord& starts = engine_.starts();
  if (starts.last_error) stats.last_start_error = starts.last_error->message;
  return stats;
}

std::vector<WorkerInfo> Pool::Impl::Workers() const {
  std::vector<WorkerInfo> infos;
  {
    const EngineLock lock(engine_);
    for (auto& [process_number, info] : WorkersOf(engine_.core())) {
      if (const auto process = fleet_.Find(process_number)) {
        info.pid = process->pid;
        info.protocol_version = process->protocol_version;
        info.streams = process->streams;
        info.sessions = process->sessions;
        info.start_time = process->start_time;
      }
      infos.push_back(info);
    }
  }
  for (WorkerInfo& info : infos) {
    if (info.pid == 0) continue;
    if (const auto rss = ReadRssBytes(info.pid)) info.rss_bytes = *rss;
  }
  return infos;
}

}  // namespace snakepit
