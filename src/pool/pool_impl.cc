// Pool::Impl: effects, figures, and the life of the pool itself.
#include "src/pool/pool_impl.h"

#include <unistd.h>

#include <algorithm>
#include <asio/post.hpp>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <future>
#include <iterator>
#include <new>
#include <random>
#include <utility>

#include "src/base/blocked_signals.h"
#include "src/base/quote.h"
#include "src/pool/options.h"
#include "src/process/proc_figures.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// How much later than its deadline the answer of a health check is awaited.
constexpr std::chrono::milliseconds kHealthMargin{1'000};

// Why a worker is replaced, for the log.
std::pair<LogLevel, std::string_view> ReplaceText(ReplaceReason why) {
  switch (why) {
    case ReplaceReason::kMaxAge:
      return {LogLevel::kInfo, " is replaced: it is as old as recycle.max_age allows"};
    case ReplaceReason::kMaxCalls:
      return {LogLevel::kInfo,
              " is replaced: it has had as many calls as recycle.max_calls allows"};
    case ReplaceReason::kRssGrowth:
      return {LogLevel::kInfo,
              " is replaced: its memory has grown by more than recycle.max_rss_growth_bytes"};
    case ReplaceReason::kMaxIdle:
      return {LogLevel::kInfo, " is replaced: it was idle for as long as recycle.max_idle allows"};
    case ReplaceReason::kTotalRss:
      return {LogLevel::kInfo,
              " is replaced: all workers together have more memory than "
              "recycle.max_total_rss_bytes, and it has most"};
    case ReplaceReason::kUnhealthy:
      return {LogLevel::kWarning, " is replaced: it said three times that it is not well"};
    case ReplaceReason::kRestart:
      return {LogLevel::kInfo, " is replaced: all workers are restarted"};
    case ReplaceReason::kSurplus:
      return {LogLevel::kInfo, " is to end: the pool is to have fewer workers"};
    case ReplaceReason::kOverran:
      return {LogLevel::kWarning,
              " is replaced: it went on for too long with a call that was given up; it finishes "
              "its other calls"};
    case ReplaceReason::kEnding:
      return {LogLevel::kWarning,
              " is replaced: it is ending, though the pool had not asked it to"};
  }
  return {LogLevel::kInfo, " is replaced"};
}

}  // namespace

std::string DescribeException() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "what is no std::exception";
  }
}

Pool::Impl::Impl(PoolOptions options)
    : options_(std::move(options)),
      work_(asio::make_work_guard(io_)),
      timer_(io_),
      core_(options_, std::random_device()()) {}

Result<void> Pool::Impl::Start() {
  if (auto ready = EnsureGuardian(); !ready) return ready;
  std::unique_lock lock(mutex_);
  {
    const BlockedSignals blocked;
    thread_ = std::thread([this] { RunIo(); });
  }
  LogNotInherited();
  core_.Start(steady_clock::now());
  ApplyLocked();
  changed_.wait(lock, [this] { return start_error_ || core_.roster().AllReady(); });
  started_ = !start_error_;
  if (started_) return {};
  Error error = *start_error_;
  lock.unlock();
  KillAll();
  Shutdown();
  return Fail(std::move(error));
}

// What is thrown is handled where it is known what it has spoilt. This is for what was not
// foreseen: no exception ends the program, and every call has its outcome.
void Pool::Impl::RunIo() {
  for (;;) {
    try {
      io_.run();
      return;
    } catch (...) {
      OnFault();
    }
  }
}

// Nobody knows what was left undone: with its worker each call ends.
void Pool::Impl::OnFault() {
  try {
    Log(LogLevel::kError, "the pool's own thread threw " + DescribeException() +
                              ": a fault of the pool; every worker is replaced");
    KillAll();
  } catch (...) {  // there is no memory, say, not even for that
  }
}

void Pool::Impl::KillAll() {
  std::lock_guard lock(mutex_);
  for (const auto& [number, process] : processes_) SignalLocked(*process, SIGKILL);
}

Error Pool::Impl::ForkedError() const {
  return {.code = ErrorCode::kUnavailable,
          .message = Prefix() + "this process did not start the pool: it was forked from the one " +
                     "that did (pid " + std::to_string(home_.pid()) +
                     "), whose workers are not its own; it can start a pool of its own"};
}

void Pool::Impl::EndForked() {
  constexpr std::string_view kText =
      "snakepit: a callback of a pool forked this process, which returned from the callback "
      "instead of ending: it is aborted, as the pool is its parent's\n";
  (void)!write(STDERR_FILENO, kText.data(), kText.size());
  std::abort();
}

void Pool::Impl::Shutdown() {
  std::call_once(shut_down_, [this] {
    if (!thread_.joinable()) return;  // it never started
    std::unique_lock lock(mutex_);
    core_.Stop(steady_clock::now());
    ApplyLocked();
    // The core has a limit for each step of it.
    changed_.wait(lock, [this] {
      return core_.roster().AllGone() && core_.scheduler().calls() == 0 && calls_.empty();
    });
    std::shared_ptr<Guardian> guardian = std::move(guardian_);
    lock.unlock();
    guardian.reset();  // and with it whatever the workers left behind
    lock.lock();
    thread_ends_ = true;
    asio::post(io_, [this] {
      timer_.cancel();
      work_.reset();
    });
    lock.unlock();
    thread_.join();
    runtime_directory_.Remove();
  });
}

bool Pool::Impl::Drain(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  core_.Close();
  TellRestartWaitersLocked();
  return changed_.wait_for(lock, timeout, [this] { return calls_.empty(); });
}

void Pool::Impl::EndSession(std::string_view session_id) {
  std::lock_guard lock(mutex_);
  core_.EndSession(session_id, steady_clock::now());
  ApplyLocked();
}

Result<void> Pool::Impl::Restart(std::chrono::milliseconds timeout) {
  if (timeout.count() < 1 || timeout > kLongestTimeout) {
    return Fail(
        ErrorCode::kInvalidArgument,
        Prefix() + "the timeout of a restart is 1 ms to 24 h, not " + Milliseconds(timeout));
  }
  std::unique_lock lock(mutex_);
  if (auto begun = core_.Restart(steady_clock::now()); !begun) {
    return Fail(RefusalLocked(begun.error()));
  }
  asio::post(io_, [this] { Log(LogLevel::kInfo, "every worker is replaced, one by one"); });
  RestartWaiter waiter{.start_failures = start_failures_};
  restart_waiters_.push_back(&waiter);
  ApplyLocked();
  const bool ended = changed_.wait_for(
      lock, timeout, [&waiter] { return waiter.state != RestartState::kRunning; });
  if (!ended) {
    std::erase(restart_waiters_, &waiter);
    return Fail(ErrorCode::kDeadlineExceeded, Prefix() + "not every worker was replaced within " +
                                                  std::to_string(timeout.count()) +
                                                  " ms; it goes on: " + QueueStateLocked());
  }
  if (waiter.state == RestartState::kDone) return {};
  if (core_.closed()) return Fail(RefusalLocked(Refusal::kClosed));
  if (start_failures_ > waiter.start_failures) return Fail(*last_start_error_);
  return Fail(RefusalLocked(Refusal::kBreakerOpen));
}

// A restart that has ended is over for all who wait for it, whatever begins before they wake up.
void Pool::Impl::TellRestartWaitersLocked() {
  if (restart_waiters_.empty() || core_.supervisor().restart_state() == RestartState::kRunning)
    return;
  for (RestartWaiter* waiter : restart_waiters_) waiter->state = core_.supervisor().restart_state();
  restart_waiters_.clear();
  changed_.notify_all();
}

Result<void> Pool::Impl::Resize(int workers) {
  if (workers < 1 || workers > kMaxWorkers) {
    return Fail(ErrorCode::kInvalidArgument,
                Prefix() + "a pool has 1 to 1,000 workers, not " + std::to_string(workers));
  }
  std::lock_guard lock(mutex_);
  if (auto resized = core_.Resize(workers, steady_clock::now()); !resized) {
    return Fail(RefusalLocked(resized.error()));
  }
  ApplyLocked();
  changed_.notify_all();
  return {};
}

Result<WorkerHealth> Pool::Impl::CheckHealth(int worker_id, std::chrono::milliseconds timeout) {
  if (timeout.count() < 1 || timeout > kLongestTimeout) {
    return Fail(
        ErrorCode::kInvalidArgument,
        Prefix() + "the timeout of a health check is 1 ms to 24 h, not " + Milliseconds(timeout));
  }
  const SteadyTime deadline = steady_clock::now() + timeout;
  auto promise = std::make_shared<std::promise<Result<WorkerHealth>>>();
  std::future<Result<WorkerHealth>> health = promise->get_future();
  {
    std::lock_guard lock(mutex_);
    if (worker_id < 0 || worker_id >= static_cast<int>(core_.seats().size())) {
      return Fail(ErrorCode::kInvalidArgument,
                  Prefix() + "there is no worker " + std::to_string(worker_id));
    }
    const Core::Worker& worker = core_.workers()[core_.seats()[worker_id].worker];
    const WorkerState state = worker.state;
    if (state != WorkerState::kReady && state != WorkerState::kUnready) {
      Error error{.code = ErrorCode::kUnavailable,
                  .message = Prefix() + "worker " + std::to_string(worker_id) +
                             " is not ready, but " + std::string(WorkerStateName(state))};
      error.worker_id = worker_id;
      return Fail(std::move(error));
    }
    asio::post(io_, [process = FindLocked(worker.process), deadline, promise] {
      process->connection->CheckHealth(deadline, [process, promise](Result<WorkerHealth> result) {
        const auto hide = [&process](std::string* text) {
          *text = HideSecret(std::move(*text), process->secret);
        };
        if (!result) {
          hide(&result.error().message);
        } else {
          hide(&result->worker_id);
          hide(&result->version);
        }
        promise->set_value(std::move(result));
      });
    });
  }
  Result<WorkerHealth> result =
      Fail(ErrorCode::kDeadlineExceeded, "a callback held up the pool's own thread for too long");
  if (health.wait_until(deadline + kHealthMargin) == std::future_status::ready) {
    result = health.get();
  }
  if (!result) result.error().worker_id = worker_id;
  return result;
}

// --- Figures -----------------------------------------------------------------------------------

PoolStats Pool::Impl::Stats() const {
  std::lock_guard lock(mutex_);
  PoolStats stats;
  stats.workers = static_cast<int>(core_.seats().size());
  for (const Core::Seat& seat : core_.seats()) {
    const Core::Worker& worker = core_.workers()[seat.worker];
    const bool ready = worker.state == WorkerState::kReady;
    stats.workers_ready += ready;
    stats.usable_capacity += ready ? worker.capacity : 0;
    stats.wanted_capacity += worker.capacity;
  }
  for (const Core::Worker& worker : core_.workers()) stats.calls_in_flight += worker.in_flight;
  stats.breaker = core_.supervisor().breaker().state();
  stats.calls_queued = core_.scheduler().queued();
  stats.bytes_queued = core_.scheduler().queued_bytes();
  stats.oldest_queued = OldestQueuedLocked();
  stats.sessions = core_.scheduler().sessions();
  stats.calls_accepted = accepted_;
  stats.calls_succeeded = succeeded_;
  stats.calls_failed = failed_;
  stats.calls_refused = refused_;
  stats.restarts = core_.roster().counts().restarts;
  stats.boot_failures = core_.roster().counts().boot_failures;
  stats.crashes = core_.roster().counts().crashes;
  stats.recycled = core_.roster().counts().recycled;
  stats.breaker_opened = core_.supervisor().breaker().times_opened();
  if (last_start_error_) stats.last_start_error = last_start_error_->message;
  return stats;
}

std::chrono::milliseconds Pool::Impl::OldestQueuedLocked() const {
  const auto oldest = core_.scheduler().OldestQueued();
  if (!oldest) return std::chrono::milliseconds(0);
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - *oldest);
}

std::vector<WorkerInfo> Pool::Impl::Workers() const {
  std::vector<WorkerInfo> infos;
  {
    std::lock_guard lock(mutex_);
    std::vector<WorkerIndex> order;
    for (const Core::Seat& seat : core_.seats()) order.push_back(seat.worker);
    for (WorkerIndex w{0}; w != core_.workers().end_index(); ++w) {
      const Core::Worker& worker = core_.workers()[w];
      const bool has_seat = static_cast<size_t>(worker.id) < core_.seats().size() &&
                            core_.seats()[worker.id].worker == w;
      if (worker.state != WorkerState::kGone && !has_seat) order.push_back(w);
    }
    for (WorkerIndex w : order) {
      const Core::Worker& worker = core_.workers()[w];
      WorkerInfo info{.id = worker.id,
                      .state = worker.state,
                      .capacity = worker.capacity,
                      .calls_in_flight = worker.in_flight,
                      .calls_started = worker.calls_started};
      if (static_cast<size_t>(worker.id) < core_.seats().size()) {
        info.restarts = core_.seats()[worker.id].restarts;
      }
      if (auto process = FindLocked(worker.process)) {
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

// --- Effects -----------------------------------------------------------------------------------

void Pool::Impl::ApplyLocked() {
  if (std::exchange(has_effects_left_, false)) {
    std::vector<Effect> more;
    core_.TakeEffects(&more);
    std::move(more.begin(), more.end(), std::back_inserter(effects_));
  } else {
    core_.TakeEffects(&effects_);
  }
  size_t applied = 0;
  try {
    for (; applied < effects_.size(); ++applied) {
      std::visit([this](const auto& e) { Apply(e); }, effects_[applied]);
    }
  } catch (...) {  // there is no memory, say: the others are not to be lost with it
    effects_.erase(effects_.begin(), effects_.begin() + static_cast<ptrdiff_t>(applied) + 1);
    has_effects_left_ = true;
    throw;
  }
  LogBreakerLocked();
  TellRestartWaitersLocked();
  UpdateWakeLocked();
}

void Pool::Impl::Apply(const SpawnWorker& effect) {
  auto process = std::make_shared<Process>();
  process->worker_id = effect.worker_id;
  process->number = effect.process;
  processes_.emplace(effect.process, process);
  asio::post(io_, [this, process] { StartProcess(*process); });
}

void Pool::Impl::Apply(const DispatchCall& effect) {
  PendingCall* call = calls_.at(effect.call);
  call->process = processes_.at(effect.process);
  call->session_moved = effect.session_moved;
  if (call->async != nullptr) {
    asio::post(io_, [this, async = call->async] { StartAsync(async); });
  } else {
    call->changed.notify_one();
  }
}

void Pool::Impl::Apply(const EndCall& effect) {
  auto found = calls_.find(effect.call);
  // A call that was abandoned and then lost: its caller has an outcome, or is about to take it.
  if (found == calls_.end() || found->second->released) return;
  PendingCall* call = found->second;
  if (call->async != nullptr) {
    asio::post(io_, [this, async = call->async, error = EndedLocked(effect, *call)]() mutable {
      EndAsync(async, Fail(std::move(error)));
    });
  } else {
    call->ended = EndedLocked(effect, *call);
    call->changed.notify_one();
  }
}

void Pool::Impl::Apply(const AskWorkerToEnd& effect) {
  asio::post(io_, [this, process = processes_.at(effect.process)] { AskToEnd(*process); });
}

void Pool::Impl::Apply(const KillWorker& effect) {
  Process& process = *processes_.at(effect.process);
  process.given_up = KillText(process, effect.why);
  SignalLocked(process, SIGKILL);
  // Of one that did not start, the log has an error of its own.
  const LogLevel level =
      effect.why == KillReason::kNotStarted ? LogLevel::kDebug : LogLevel::kWarning;
  asio::post(io_, [this, level, text = NameOf(process) + " is killed: " + process.given_up] {
    Log(level, text);
  });
}

void Pool::Impl::Apply(const DisownProcess& effect) {
  auto process = processes_.at(effect.process);
  processes_.erase(effect.process);
  asio::post(io_, [this, process = std::move(process)] { Disown(*process); });
}

void Pool::Impl::Apply(const ReplaceWorker& effect) {
  const auto [level, why] = ReplaceText(effect.why);
  asio::post(
      io_, [this, level = level, text = NameOf(*processes_.at(effect.process)) + std::string(why)] {
        Log(level, text);
      });
}

void Pool::Impl::Apply(const ReportStartTimeout& effect) {
  asio::post(io_, [this, process = processes_.at(effect.process)] {
    ReportStartFailure(*process, Error{.code = ErrorCode::kStartTimeout});
  });
}

void Pool::Impl::Apply(const CheckWorker& effect) {
  asio::post(io_, [this, process = processes_.at(effect.process)] { Check(process); });
}

void Pool::Impl::Apply(const MeasureWorker& effect) {
  asio::post(io_, [this, process = processes_.at(effect.process)] { Measure(*process); });
}

void Pool::Impl::Apply(const EndWorkerSession& effect) {
  processes_.at(effect.process)->connection->EndSession(effect.session_id);
}

void Pool::Impl::UpdateWakeLocked() {
  const auto next = core_.NextWake();
  if (!next || (armed_ && *armed_ <= *next)) return;
  armed_ = next;
  asio::post(io_, [this] { ArmTimer(); });
}

void Pool::Impl::ArmTimer() {
  {
    std::lock_guard lock(mutex_);
    if (!armed_) return;
    timer_.expires_at(*armed_);
  }
  timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;  // armed anew, for an earlier time
    std::lock_guard lock(mutex_);
    armed_.reset();
    core_.Tick(steady_clock::now());
    ApplyLocked();
    changed_.notify_all();
  });
}

}  // namespace snakepit
