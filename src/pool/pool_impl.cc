// Pool::Impl: effects, workers, and the life of the pool itself.
#include "src/pool/pool_impl.h"

#include <algorithm>
#include <asio/post.hpp>
#include <csignal>
#include <future>
#include <utility>

#include "src/base/fd.h"
#include "src/pool/options.h"
#include "src/process/proc_figures.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kStartTimeoutMargin{100};
// How long the guardian may take to kill a worker and to report it.
constexpr std::chrono::milliseconds kGuardianLimit{2'000};
// How much later than its deadline the answer of a health check is awaited.
constexpr std::chrono::milliseconds kHealthMargin{1'000};

// For the start of a thread: a signal is for the program's own threads to handle.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

Pool::Impl::Impl(PoolOptions options)
    : options_(std::move(options)),
      work_(asio::make_work_guard(io_)),
      timer_(io_),
      core_(options_),
      slots_(options_.workers) {}

Result<void> Pool::Impl::Start() {
  if (auto ready = EnsureGuardian(); !ready) return ready;
  std::unique_lock lock(mutex_);
  {
    const BlockedSignals blocked;
    thread_ = std::thread([this] { io_.run(); });
  }
  core_.Start(steady_clock::now());
  ApplyLocked();
  changed_.wait(lock, [this] { return start_error_ || core_.AllReady(); });
  started_ = !start_error_;
  if (started_) return {};
  Error error = *start_error_;
  lock.unlock();
  KillAll();
  Shutdown();
  return Fail(std::move(error));
}

void Pool::Impl::KillAll() {
  std::lock_guard lock(mutex_);
  if (!guardian_) return;
  for (const Slot& slot : slots_) {
    if (slot.process != 0) guardian_->Signal(slot.process, SIGKILL);
  }
}

void Pool::Impl::Shutdown() {
  std::call_once(shut_down_, [this] {
    if (!thread_.joinable()) return;  // it never started
    std::unique_lock lock(mutex_);
    core_.Stop(steady_clock::now());
    ApplyLocked();
    // The grace once to finish a call, and once to end.
    const auto limit = 2 * options_.stop_grace + kGuardianLimit;
    if (!changed_.wait_for(lock, limit, [this] { return core_.AllGone(); })) {
      asio::post(io_,
                 [this] { GiveUpGuardian("the process that starts workers does not answer"); });
    }
    changed_.wait(lock, [this] { return core_.AllGone() && core_.calls() == 0 && calls_.empty(); });
    std::unique_ptr<Guardian> guardian = std::move(guardian_);
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
  return changed_.wait_for(lock, timeout, [this] { return calls_.empty(); });
}

void Pool::Impl::EndSession(std::string_view session_id) {
  std::lock_guard lock(mutex_);
  core_.EndSession(session_id);
  ApplyLocked();
}

Result<WorkerHealth> Pool::Impl::CheckHealth(int worker_id, std::chrono::milliseconds timeout) {
  if (worker_id < 0 || worker_id >= options_.workers) {
    return Fail(ErrorCode::kInvalidArgument, "there is no worker " + std::to_string(worker_id));
  }
  if (timeout.count() < 1 || timeout > kLongestTimeout) {
    return Fail(ErrorCode::kInvalidArgument, "the timeout of a health check is 1 ms to 24 h, not " +
                                                 std::to_string(timeout.count()) + " ms");
  }
  const SteadyTime deadline = steady_clock::now() + timeout;
  auto promise = std::make_shared<std::promise<Result<WorkerHealth>>>();
  std::future<Result<WorkerHealth>> health = promise->get_future();
  {
    std::lock_guard lock(mutex_);
    const WorkerState state = core_.workers()[worker_id].state;
    if (state != WorkerState::kReady) {
      Error error{.code = ErrorCode::kUnavailable,
                  .message = "worker " + std::to_string(worker_id) + " is not ready, but " +
                             std::string(WorkerStateName(state))};
      error.worker_id = worker_id;
      return Fail(std::move(error));
    }
    asio::post(io_, [connection = slots_[worker_id].connection, deadline, promise] {
      connection->CheckHealth(deadline, [promise](Result<WorkerHealth> result) {
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
  stats.workers = options_.workers;
  for (const Core::Worker& worker : core_.workers()) {
    stats.workers_ready += worker.state == WorkerState::kReady;
    stats.calls_in_flight += worker.in_flight;
    stats.restarts += worker.restarts;
  }
  stats.calls_queued = core_.queued();
  stats.sessions = core_.sessions();
  stats.calls_accepted = accepted_;
  stats.calls_succeeded = succeeded_;
  stats.calls_failed = failed_;
  stats.calls_refused = refused_;
  stats.last_start_error = last_start_error_;
  return stats;
}

std::vector<WorkerInfo> Pool::Impl::Workers() const {
  std::vector<WorkerInfo> infos;
  {
    std::lock_guard lock(mutex_);
    for (int w = 0; w < options_.workers; ++w) {
      const Core::Worker& worker = core_.workers()[w];
      infos.push_back({.id = w,
                       .state = worker.state,
                       .pid = slots_[w].pid,
                       .capacity = worker.capacity,
                       .protocol_version = slots_[w].protocol_version,
                       .calls_in_flight = worker.in_flight,
                       .calls_started = worker.calls_started,
                       .restarts = worker.restarts,
                       .start_time = slots_[w].start_time});
    }
  }
  for (WorkerInfo& info : infos) {
    if (info.pid == 0) continue;
    if (auto figures = ReadProcFigures(info.pid)) info.rss_bytes = figures->rss_bytes;
  }
  return infos;
}

// --- Effects -----------------------------------------------------------------------------------

void Pool::Impl::ApplyLocked() {
  core_.TakeEffects(&effects_);
  for (const Effect& effect : effects_) {
    std::visit([this](const auto& e) { Apply(e); }, effect);
  }
  UpdateWakeLocked();
}

void Pool::Impl::Apply(const SpawnWorker& effect) {
  slots_[effect.worker].process = effect.process;
  asio::post(io_, [this, effect] { StartProcess(effect.worker, effect.process); });
}

void Pool::Impl::Apply(const DispatchCall& effect) {
  PendingCall* call = calls_.at(effect.call);
  const Slot& slot = slots_[effect.worker];
  call->worker = effect.worker;
  call->pid = slot.pid;
  call->connection = slot.connection;
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
    asio::post(io_, [this, async = call->async, error = EndedLocked(effect)]() mutable {
      EndAsync(async, Fail(std::move(error)));
    });
  } else {
    call->ended = EndedLocked(effect);
    call->changed.notify_one();
  }
}

void Pool::Impl::Apply(const AskWorkerToEnd& effect) {
  asio::post(io_, [this, worker = effect.worker, process = slots_[effect.worker].process] {
    AskToEnd(worker, process);
  });
}

void Pool::Impl::Apply(const KillWorker& effect) {
  if (guardian_) guardian_->Signal(slots_[effect.worker].process, SIGKILL);
}

void Pool::Impl::Apply(const ReportStartTimeout& effect) {
  asio::post(io_, [this, worker = effect.worker] {
    ReportStartFailure(worker, Error{.code = ErrorCode::kStartTimeout});
  });
}

void Pool::Impl::Apply(const EndWorkerSession& effect) {
  std::shared_ptr<Connection> connection = slots_[effect.worker].connection;
  if (!connection->agreement().session) return;
  // Until the worker has been told, no call of a new session of that name may overtake (Run).
  auto ending = ending_sessions_.insert(effect.session_id);
  asio::post(io_, [this, connection = std::move(connection), ending] {
    connection->EndSession(*ending, [this, ending] {
      std::lock_guard lock(mutex_);
      ending_sessions_.erase(ending);
      changed_.notify_all();
    });
  });
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

// --- Workers -----------------------------------------------------------------------------------

// Starts a guardian unless there is one.
Result<void> Pool::Impl::EnsureGuardian() {
  {
    std::lock_guard lock(mutex_);
    if (guardian_) return {};
  }
  if (NeedsRuntimeDirectory(options_.adapter)) {
    runtime_directory_.Remove();  // that of an earlier guardian, which may have removed it already
    if (auto created = runtime_directory_.Create(); !created) return created;
  }
  auto guardian = Guardian::Start(
      io_,
      {.spawned = [this](uint64_t process, pid_t pid) { OnSpawned(process, pid); },
       .spawn_failed = [this](uint64_t process,
                              Error error) { OnSpawnFailed(process, std::move(error)); },
       .exited = [this](uint64_t process, ExitStatus status,
                        ResourceUse) { OnExited(process, status); },
       .lost =
           [this] { GiveUpGuardian("the process that starts workers ended, and they with it"); }},
      runtime_directory_.path());
  if (!guardian) return Fail(std::move(guardian.error()));
  std::lock_guard lock(mutex_);
  guardian_ = std::move(*guardian);
  return {};
}

int Pool::Impl::WorkerOf(ProcessNumber process) const {
  std::lock_guard lock(mutex_);
  return core_.WorkerOf(process);
}

std::string Pool::Impl::NameOf(int worker) const {
  std::lock_guard lock(mutex_);
  const pid_t pid = slots_[worker].pid;
  return "worker " + std::to_string(worker) +
         (pid == 0 ? "" : " (pid " + std::to_string(pid) + ")");
}

void Pool::Impl::Log(LogLevel level, std::string_view text) const {
  if (options_.log) options_.log(level, text);
}

void Pool::Impl::StartProcess(int worker, ProcessNumber process) {
  {
    std::lock_guard lock(mutex_);
    if (core_.WorkerOf(process) != worker) return;
    if (core_.workers()[worker].state != WorkerState::kStarting) {
      // Given up, or asked to end, before there was a process. No signal would reach it later.
      core_.Exited(process, ExitStatus{.signal = SIGKILL}, steady_clock::now());
      ApplyLocked();
      changed_.notify_all();
      return;
    }
  }
  Slot& slot = slots_[worker];
  slot.closed_in_start.reset();
  slot.start_failure_reported = false;
  auto log_line = [this, worker](std::string_view line) {
    Log(LogLevel::kInfo, "worker " + std::to_string(worker) + ": " + std::string(line));
  };
  if (auto ready = EnsureGuardian(); !ready) {
    return OnSpawnFailed(process, std::move(ready.error()));
  }
  auto launch = Launch::Prepare(options_.adapter, {.io = &io_,
                                                   .worker_id = worker,
                                                   .process_number = process,
                                                   .runtime_directory = runtime_directory_.path(),
                                                   .cancel_grace = options_.cancel_grace,
                                                   .on_stdout_line = log_line});
  if (!launch) return OnSpawnFailed(process, std::move(launch.error()));
  auto pipe = OpenPipe();
  if (!pipe) return OnSpawnFailed(process, std::move(pipe.error()));
  SpawnSpec spec = (*launch)->spec();
  spec.stderr_fd = pipe->second.get();
  slot.launch = std::move(*launch);
  slot.stderr_reader = OutputReader::Start(io_, std::move(pipe->first), log_line);
  std::unique_lock lock(mutex_);
  slot.started_at = steady_clock::now();
  Result<void> spawned = guardian_->Spawn(process, spec);
  lock.unlock();
  if (!spawned) OnSpawnFailed(process, std::move(spawned.error()));
}

void Pool::Impl::OnSpawned(ProcessNumber process, pid_t pid) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  Slot& slot = slots_[worker];
  {
    std::lock_guard lock(mutex_);
    slot.pid = pid;
  }
  Log(LogLevel::kDebug, NameOf(worker) + " started");
  // A moment less than the core allows, so that it is the launch that says what was missing.
  const auto timeout = options_.adapter.start_timeout;
  const auto moment = std::min<std::chrono::milliseconds>(timeout / 10, kStartTimeoutMargin);
  slot.launch->Connect(slot.started_at + timeout - moment, [this, process](auto connection) {
    OnConnected(process, std::move(connection));
  });
}

void Pool::Impl::OnSpawnFailed(ProcessNumber process, Error error) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  ReportStartFailure(worker, std::move(error));
  slots_[worker].launch.reset();
  if (slots_[worker].stderr_reader) slots_[worker].stderr_reader->Close();
  std::lock_guard lock(mutex_);
  core_.Exited(process, ExitStatus{.code = 127}, steady_clock::now());
  ApplyLocked();
  changed_.notify_all();
}

void Pool::Impl::OnConnected(ProcessNumber process,
                             Result<std::shared_ptr<Connection>> connection) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  Slot& slot = slots_[worker];
  if (connection) {
    const auto time = steady_clock::now() - slot.started_at;
    const Agreement& agreement = (*connection)->agreement();
    {
      std::lock_guard lock(mutex_);
      slot.connection = std::move(*connection);
      slot.start_time = std::chrono::duration_cast<std::chrono::microseconds>(time);
      slot.protocol_version = agreement.version;
      core_.Ready(process, agreement.capacity, steady_clock::now());
      ApplyLocked();
      changed_.notify_all();
    }
    Log(LogLevel::kDebug,
        NameOf(worker) + " is ready after " +
            std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) +
            " ms");
    return;
  }
  {
    std::lock_guard lock(mutex_);
    // Who was asked to end, or killed, in its start has not failed by not getting through with it.
    if (core_.workers()[worker].state != WorkerState::kStarting) return;
  }
  const bool closed = connection.error().code == ErrorCode::kWorkerLost;
  if (closed) {
    slot.closed_in_start = std::move(connection.error());  // its exit will say more
  } else {
    ReportStartFailure(worker, std::move(connection.error()));
  }
  std::lock_guard lock(mutex_);
  if (closed) {
    core_.ConnectionLost(process, steady_clock::now());
  } else {
    core_.Unusable(process, steady_clock::now());
  }
  ApplyLocked();
}

void Pool::Impl::OnExited(ProcessNumber process, ExitStatus status) {
  const int worker = WorkerOf(process);
  if (worker < 0) return;
  Slot& slot = slots_[worker];
  const std::string name = NameOf(worker);
  std::string tail = slot.stderr_reader->Tail();
  slot.stderr_reader->Close();
  slot.launch->Abort();
  std::unique_lock lock(mutex_);
  const WorkerState state = core_.workers()[worker].state;
  const bool was_ready = slot.connection != nullptr;
  const bool was_asked = core_.stopping() || (start_error_ && !started_);
  const bool failed = !was_ready || !started_;
  if (was_ready) slot.connection->Abort();
  slot.last_exit = {.process = process, .pid = slot.pid, .stderr_tail = tail};
  lock.unlock();

  if (failed && !was_asked && !slot.start_failure_reported) {
    Error error{
        .code = ErrorCode::kStartFailed,
        .message = "it ended by " + Describe(status) +
                   (was_ready ? " before the whole pool was ready" : " before it was ready")};
    if (slot.closed_in_start) error.message += ": " + slot.closed_in_start->message;
    error.exit = status;
    error.stderr_tail = tail;
    ReportStartFailure(worker, std::move(error));
  } else if (state == WorkerState::kReady || state == WorkerState::kDraining) {
    Log(LogLevel::kWarning, name + " ended by " + Describe(status));
  } else {
    Log(LogLevel::kDebug, name + " ended by " + Describe(status));
  }
  slot.launch.reset();

  lock.lock();
  // Not before: until now the core may have given it a call, which the aborted connection ends.
  slot.connection = nullptr;
  slot.pid = 0;
  core_.Exited(process, status, steady_clock::now());
  ApplyLocked();
  changed_.notify_all();
}

// The next start of a worker starts a new one, with the wait between starts that the core sees to.
void Pool::Impl::GiveUpGuardian(std::string_view why) {
  Log(LogLevel::kError, why);
  std::vector<ProcessNumber> processes;
  {
    std::lock_guard lock(mutex_);
    // Destroyed, and with it the workers, on this thread's next turn, outside the lock.
    asio::post(io_, [old = std::shared_ptr<Guardian>(std::move(guardian_))] {});
    for (const Slot& slot : slots_) {
      // Who has no launch has not been started yet.
      if (slot.launch && core_.WorkerOf(slot.process) >= 0) processes.push_back(slot.process);
    }
  }
  for (ProcessNumber process : processes) OnExited(process, ExitStatus{.signal = SIGKILL});
}

void Pool::Impl::AskToEnd(int worker, ProcessNumber process) {
  if (WorkerOf(process) != worker) return;
  Slot& slot = slots_[worker];
  if (!slot.launch) return;
  const bool was_ready = slot.connection != nullptr;
  if (was_ready) {
    slot.connection->AskToEnd();
  } else {
    slot.launch->Abort();  // its handshake is over, and its stdin with it
  }
  std::lock_guard lock(mutex_);
  if (guardian_ && slot.launch->EndsBySigterm()) guardian_->Signal(process, SIGTERM);
}

void Pool::Impl::ReportStartFailure(int worker, Error error) {
  Slot& slot = slots_[worker];
  if (std::exchange(slot.start_failure_reported, true)) return;
  if (error.stderr_tail.empty() && slot.stderr_reader) {
    error.stderr_tail = slot.stderr_reader->Tail();
  }
  if (error.code == ErrorCode::kStartTimeout) {
    const std::string limit = std::to_string(options_.adapter.start_timeout.count());
    error.message = "it was not ready within " + limit + " ms" +
                    (error.message.empty() ? "" : ": " + error.message);
  }
  error.worker_id = worker;
  error.message = NameOf(worker) + " did not start: " + error.message;
  Log(LogLevel::kError, error.message);
  std::lock_guard lock(mutex_);
  last_start_error_ = error.message;
  if (!start_error_) start_error_ = std::move(error);
  changed_.notify_all();
}

}  // namespace snakepit
