#include "src/pool/fleet.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "src/base/fd.h"
#include "src/base/quote.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kStartTimeoutMargin{100};
constexpr std::string_view kGuardianLost =
    "the process that starts workers ended, and they with it";

// The end of what it wrote to stderr.
std::string TailOf(const WorkerProcess& process) {
  return HideSecret(process.stderr_reader->Tail(), process.secret);
}

}  // namespace

Fleet::Fleet(Engine& engine, const PoolOptions& options, const UserCallbacks& callbacks,
             LaunchFactory launches)
    : engine_(engine), options_(options), callbacks_(callbacks), launches_(std::move(launches)) {}

// --- The guardian ------------------------------------------------------------------------------

std::shared_ptr<Guardian> Fleet::GuardianUnlocked() const {
  const EngineLock lock(engine_);
  return guardian_;
}

Result<void> Fleet::EnsureGuardian() {
  const bool has_guardian = GuardianUnlocked() != nullptr;
  if (launches_.needs_runtime_directory(options_.adapter)) {
    if (auto there = EnsureRuntimeDirectory(has_guardian); !there) return there;
  }
  if (has_guardian) return {};
  auto guardian = Guardian::Start(
      engine_.io(),
      {.spawned = [this](uint64_t process, pid_t pid) { OnSpawned(process, pid); },
       .spawn_failed = [this](uint64_t process,
                              Error error) { OnSpawnFailed(process, std::move(error)); },
       .exited = [this](uint64_t process, ExitStatus status,
                        ResourceUse use) { OnExited(process, status, use); },
       .lost = [this] { OnGuardianLost(); },
       .end_command_failed =
           [this](pid_t pid, const std::string& why) {
             callbacks_.Log(LogLevel::kWarning, "the end command of the worker that had pid " +
                                                    std::to_string(pid) + " failed: " + why);
           }},
      runtime_directory_.fd() ? runtime_directory_.fd()->get() : -1);
  if (!guardian) return Fail(std::move(guardian.error()));
  const EngineLock lock(engine_);
  guardian_ = std::move(*guardian);
  return {};
}

// Makes the folder of the sockets unless it is there: for a new guardian, or when somebody removed
// it.
Result<void> Fleet::EnsureRuntimeDirectory(bool has_guardian) {
  if (has_guardian && runtime_directory_.IsThere()) return {};
  const std::string before = runtime_directory_.path();
  runtime_directory_.Remove();  // an earlier guardian may have removed it already
  if (auto created = runtime_directory_.Create(); !created) {
    if (has_guardian) {
      created.error().message += "; the one that the pool had, " + before + ", was removed";
    }
    return created;
  }
  for (const std::string& unsafe : runtime_directory_.unsafe()) {
    // The first folder is made before the thread that logs begins.
    engine_.Post(
        [this, text = unsafe + "; the folder of the workers' sockets is " +
                      runtime_directory_.path()] { callbacks_.Log(LogLevel::kWarning, text); });
  }
  if (!has_guardian) return {};
  callbacks_.Log(LogLevel::kWarning, "the folder of the workers' sockets, " + before +
                                         ", was removed by somebody; a new one is " +
                                         runtime_directory_.path());
  if (const auto guardian = GuardianUnlocked()) {
    guardian->SetRuntimeDirectory(runtime_directory_.fd()->get());
  }
  return {};
}

void Fleet::EndGuardian() {
  std::shared_ptr<Guardian> guardian;
  {
    // A deed of the outbox has the guardian as well, and must not be the one that ends it.
    EngineLock lock(engine_);
    lock.Wait(engine_.changed, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex) {
      return engine_.is_drained();
    });
    guardian = std::move(guardian_);
  }
}

// The next start of a worker starts a new guardian, after the wait between starts that the core
// sees to.
void Fleet::OnGuardianLost() {
  callbacks_.Log(LogLevel::kError, kGuardianLost);
  std::vector<ProcessNumber> numbers;
  {
    const EngineLock lock(engine_);
    // Destroyed, and with it the workers, on this thread's next turn, outside the lock.
    engine_.Post([old = std::shared_ptr<Guardian>(std::move(guardian_))] {});
    for (const auto& [number, process] : processes_) {
      if (!process->is_spawned) continue;
      process->kill_reason = kGuardianLost;
      numbers.push_back(number);
    }
  }
  for (ProcessNumber number : numbers) OnExited(number, ExitStatus{.signal = SIGKILL}, {});
  std::vector<ProcessPtr> held;
  {
    const EngineLock lock(engine_);
    held.swap(held_starts_);
  }
  for (const ProcessPtr& process : held) Start(process);
}

// --- Effects, with the lock --------------------------------------------------------------------

void Fleet::Spawn(const SpawnWorker& effect) {
  engine_.mutex.AssertHeld();
  auto process = std::make_shared<WorkerProcess>();
  process->worker_id = effect.worker_id;
  process->number = effect.process;
  processes_.emplace(effect.process, process);
  engine_.Post([this, process = std::move(process)] { Start(process); });
}

void Fleet::AskToEnd(const AskWorkerToEnd& effect) {
  engine_.mutex.AssertHeld();
  engine_.Post([this, process = processes_.at(effect.process)] { OnEndWished(*process); });
}

void Fleet::Kill(const KillWorker& effect) {
  engine_.mutex.AssertHeld();
  WorkerProcess& process = *processes_.at(effect.process);
  process.kill_reason = KillText(effect.why, process.fault, options_);
  Signal(process, SIGKILL);
  // A start that failed has an error of its own in the log.
  const LogLevel level =
      effect.why == KillReason::kNotStarted ? LogLevel::kDebug : LogLevel::kWarning;
  engine_.Post([this, level, text = process.Name() + " is killed: " + process.kill_reason] {
    callbacks_.Log(level, text);
  });
}

void Fleet::Disown(const DisownProcess& effect) {
  engine_.mutex.AssertHeld();
  ProcessPtr process = processes_.at(effect.process);
  processes_.erase(effect.process);
  engine_.Post([this, process = std::move(process)] { OnDisowned(*process); });
}

void Fleet::TimeOutStart(const ReportStartTimeout& effect) {
  engine_.mutex.AssertHeld();
  engine_.Post([this, process = processes_.at(effect.process)] {
    ReportStartFailure(*process, Error{.code = ErrorCode::kStartTimeout});
  });
}

Fleet::ProcessPtr Fleet::Find(ProcessNumber number) const {
  engine_.mutex.AssertHeld();
  const auto found = processes_.find(number);
  return found == processes_.end() ? nullptr : found->second;
}

Fleet::ProcessPtr Fleet::FindUnlocked(ProcessNumber number) const {
  const EngineLock lock(engine_);
  return Find(number);
}

// A process that is yet to be spawned gets it then.
void Fleet::Signal(WorkerProcess& process, int signal) {
  if (!process.is_spawned) {
    if (process.owed_signal != SIGKILL) process.owed_signal = signal;
  } else if (guardian_) {
    engine_.AfterUnlock([guardian = guardian_, number = process.number, signal] {
      guardian->Signal(number, signal);
    });
  }
}

void Fleet::KillAll() {
  const EngineLock lock(engine_);
  for (const auto& [number, process] : processes_) Signal(*process, SIGKILL);
}

void Fleet::End(ProcessNumber number, ExitStatus status) {
  engine_.core().Exited(number, status, steady_clock::now());
  engine_.Settle();
  processes_.erase(number);
  engine_.changed.notify_all();
}

// --- Starts, on the io thread -------------------------------------------------------------------

void Fleet::Start(const ProcessPtr& process) {
  {
    const EngineLock lock(engine_);
    if (guardian_ && guardian_->is_lost()) {
      if (Find(process->number) != nullptr) held_starts_.push_back(process);
      return;
    }
    if (StateOf(engine_.core(), *process) != WorkerState::kStarting) {
      // Given up, or asked to end, before there was a process. No signal would reach it later.
      return End(process->number, ExitStatus{.signal = SIGKILL});
    }
  }
  if (auto launched = Launch(*process); !launched) {
    OnSpawnFailed(process->number, std::move(launched.error()));
  }
}

Result<void> Fleet::Launch(WorkerProcess& process) {
  const auto secret = std::make_shared<std::string>();  // which the launch makes
  auto log_line = [this, id = process.worker_id, secret](std::string_view line) {
    if (options_.log) callbacks_.LogLine(id, HideSecret(std::string(line), *secret));
  };
  if (auto ready = EnsureGuardian(); !ready) return ready;
  auto launch =
      launches_.prepare(options_.adapter, {.io = &engine_.io(),
                                           .worker_id = process.worker_id,
                                           .process_number = process.number,
                                           .runtime_directory = runtime_directory_.path(),
                                           .runtime_directory_fd = runtime_directory_.fd(),
                                           .cancel_grace = options_.cancel_grace,
                                           .on_stdout_line = log_line});
  if (!launch) return Fail(std::move(launch.error()));
  process.secret = *secret = (*launch)->secret();
  auto pipe = OpenPipe();
  if (!pipe) return Fail(std::move(pipe.error()));
  SpawnSpec spec = (*launch)->spec();
  spec.stderr_fd = pipe->second.get();
  process.launch = std::move(*launch);
  process.stderr_reader = OutputReader::Start(engine_.io(), std::move(pipe->first), log_line);
  std::shared_ptr<Guardian> guardian;
  {
    const EngineLock lock(engine_);
    process.started_at = steady_clock::now();
    guardian = guardian_;
  }
  // There is none any more when the pool has ended meanwhile.
  if (!guardian) return Fail(ErrorCode::kInternal, "the guardian process has ended");
  if (auto spawned = guardian->Spawn(process.number, spec); !spawned) return spawned;
  const EngineLock lock(engine_);
  process.is_spawned = true;
  if (process.owed_signal != 0) Signal(process, process.owed_signal);
  return {};
}

void Fleet::OnSpawned(ProcessNumber number, pid_t pid) {
  const ProcessPtr process = FindUnlocked(number);
  if (!process) return;
  {
    const EngineLock lock(engine_);
    process->pid = pid;
  }
  callbacks_.Log(LogLevel::kDebug, process->Name() + " started");
  // A moment less than the core allows, so that it is the launch that says what was missing.
  const auto timeout = options_.adapter.start_timeout;
  const auto moment = std::min<std::chrono::milliseconds>(timeout / 10, kStartTimeoutMargin);
  process->launch->Connect(pid, process->started_at + timeout - moment,
                           [this, number](auto connection) {
                             // The process may end before this: what begins a connection outlives
                             // the launch.
                             if (const ProcessPtr found = FindUnlocked(number)) {
                               OnConnected(*found, std::move(connection));
                             }
                           });
}

void Fleet::OnSpawnFailed(ProcessNumber number, Error error) {
  const ProcessPtr process = FindUnlocked(number);
  if (!process) return;
  ReportStartFailure(*process, std::move(error));
  process->launch.reset();
  if (process->stderr_reader) process->stderr_reader->Close();
  const EngineLock lock(engine_);
  End(number, ExitStatus{.code = 127});
}

void Fleet::OnConnected(WorkerProcess& process, Result<std::shared_ptr<Connection>> connection) {
  if (connection) return OnReady(process, std::move(*connection));
  {
    const EngineLock lock(engine_);
    // A worker that the pool stopped during its start did not fail to start.
    if (StateOf(engine_.core(), process) != WorkerState::kStarting) return;
  }
  connection.error().message = HideSecret(std::move(connection.error().message), process.secret);
  const bool closed = connection.error().code == ErrorCode::kWorkerLost;
  if (closed) {
    process.closed_in_start = std::move(connection.error());  // its exit will say more
  } else {
    ReportStartFailure(process, std::move(connection.error()));
  }
  const EngineLock lock(engine_);
  if (closed) {
    engine_.core().ConnectionLost(process.number, steady_clock::now());
  } else {
    engine_.core().Unusable(process.number, steady_clock::now());
  }
  engine_.Settle();
  engine_.changed.notify_all();
}

void Fleet::OnReady(WorkerProcess& process, std::shared_ptr<Connection> connection) {
  const auto time = steady_clock::now() - process.started_at;
  const Agreement agreement = connection->agreement();
  {
    const EngineLock lock(engine_);
    process.connection = std::move(connection);
    process.start_time = std::chrono::duration_cast<std::chrono::microseconds>(time);
    process.protocol_version = agreement.version;
    process.streams = agreement.stream;
    process.sessions = agreement.session;
    engine_.core().Ready(process.number, agreement.capacity,
                         process.connection->checks_while_busy(), steady_clock::now());
    engine_.Settle();
    engine_.changed.notify_all();
  }
  callbacks_.Log(LogLevel::kDebug, process.Name() + " is ready after " + Milliseconds(time));
}

void Fleet::ReportStartFailure(WorkerProcess& process, Error error) {
  if (std::exchange(process.start_failure_reported, true)) return;
  if (error.stderr_tail.empty() && process.stderr_reader) error.stderr_tail = TailOf(process);
  if (error.code == ErrorCode::kStartTimeout) {
    error.message = "it was not ready within " + Milliseconds(options_.adapter.start_timeout) +
                    (error.message.empty() ? "" : ": " + error.message);
  }
  error.worker_id = process.worker_id;
  error.message = process.Name() + " did not start: " + error.message;
  callbacks_.Log(LogLevel::kError, error.message);
  error.message = PoolPrefix(options_) + error.message;
  const EngineLock lock(engine_);
  StartRecord& starts = engine_.starts();
  ++starts.failures;
  if (!starts.first_error) starts.first_error = error;
  starts.last_error = std::move(error);
  engine_.changed.notify_all();
}

// --- Ends, on the io thread ---------------------------------------------------------------------

void Fleet::OnEndWished(WorkerProcess& process) {
  if (!process.launch) return;
  if (process.connection) {
    process.connection->AskToEnd();
  } else {
    process.launch->Abort();  // its handshake is over, and its stdin with it
  }
  if (!process.launch->EndsBySigterm()) return;
  const EngineLock lock(engine_);
  Signal(process, SIGTERM);
}

void Fleet::OnExited(ProcessNumber number, ExitStatus status, const ResourceUse& use) {
  const ProcessPtr process = FindUnlocked(number);
  if (!process) return;
  std::string tail = TailOf(*process);
  process->stderr_reader->Close();
  process->launch->Abort();
  const bool was_ready = process->connection != nullptr;
  bool was_asked = false, failed = false;
  {
    const EngineLock lock(engine_);
    const StartRecord& starts = engine_.starts();
    const Core& core = engine_.core();
    const WorkerIndex worker = core.roster().Find(number);
    was_asked = core.stopping() || (starts.first_error && !starts.pool_started) ||
                (worker != kNoWorker && core.roster()[worker].process.was_asked_to_end);
    failed = !was_ready || !starts.pool_started;
    process->stderr_tail = std::move(tail);
  }
  if (was_ready) process->connection->Abort();
  TellEnd(*process, status, use, was_asked, failed);
  process->launch.reset();
  const EngineLock lock(engine_);
  // Not before: until now the core may have given it a call, which the aborted connection ends.
  End(number, status);
}

// Logs the end, or reports the start that failed by it.
void Fleet::TellEnd(WorkerProcess& process, ExitStatus status, const ResourceUse& use,
                    bool was_asked, bool failed) {
  const bool was_ready = process.connection != nullptr;
  if (failed && !was_asked && !process.start_failure_reported) {
    Error error{
        .code = ErrorCode::kStartFailed,
        .message = "it ended by " + Describe(status) +
                   (was_ready ? " before the whole pool was ready" : " before it was ready")};
    if (process.closed_in_start) error.message += ": " + process.closed_in_start->message;
    error.exit = status;
    error.stderr_tail = process.stderr_tail;
    return ReportStartFailure(process, std::move(error));
  }
  std::string kill_reason;
  {
    const EngineLock lock(engine_);
    kill_reason = process.kill_reason;
  }
  callbacks_.Log(was_ready && !was_asked ? LogLevel::kWarning : LogLevel::kDebug,
                 process.Name() + " ended by " + Describe(status) +
                     KilledByText(status, kill_reason) + "; it used " +
                     Milliseconds(use.user_time + use.system_time) + " of processor time and " +
                     std::to_string(use.max_rss_bytes >> 20) + " MiB");
}

// The guardian may report its exit later, which nobody hears of then.
void Fleet::OnDisowned(WorkerProcess& process) {
  if (process.connection) process.connection->Abort();
  if (process.launch) process.launch->Abort();
  process.launch.reset();
  if (process.stderr_reader) process.stderr_reader->Close();
  callbacks_.Log(LogLevel::kError,
                 process.Name() + " was killed " + Milliseconds(Core::kKillLimit) + " ago, as " +
                     process.kill_reason +
                     ", and has not ended: a debugger or the kernel may hold it; the pool goes on "
                     "without it");
}

}  // namespace snakepit
