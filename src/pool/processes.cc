// Pool::Impl: the processes of workers, from their start to their end.
#include <algorithm>
#include <asio/post.hpp>
#include <csignal>
#include <utility>

#include "src/base/fd.h"
#include "src/base/quote.h"
#include "src/pool/pool_impl.h"
#include "src/process/proc_figures.h"
#include "src/transport/launch_spec.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kStartTimeoutMargin{100};

}  // namespace

// Starts a guardian unless there is one.
Result<void> Pool::Impl::EnsureGuardian() {
  bool has_guardian = false;
  {
    std::lock_guard lock(mutex_);
    has_guardian = guardian_ != nullptr;
  }
  if (NeedsRuntimeDirectory(options_.adapter)) {
    if (auto there = EnsureRuntimeDirectory(has_guardian); !there) return there;
  }
  if (has_guardian) return {};
  auto guardian = Guardian::Start(
      io_,
      {.spawned = [this](uint64_t process, pid_t pid) { OnSpawned(process, pid); },
       .spawn_failed = [this](uint64_t process,
                              Error error) { OnSpawnFailed(process, std::move(error)); },
       .exited = [this](uint64_t process, ExitStatus status,
                        ResourceUse use) { OnExited(process, status, use); },
       .lost =
           [this] { GiveUpGuardian("the process that starts workers ended, and they with it"); },
       .end_command_failed =
           [this](pid_t pid, const std::string& why) {
             Log(LogLevel::kWarning, "the end command of the worker that had pid " +
                                         std::to_string(pid) + " failed: " + why);
           }},
      runtime_directory_.fd() ? runtime_directory_.fd()->get() : -1);
  if (!guardian) return Fail(std::move(guardian.error()));
  std::lock_guard lock(mutex_);
  guardian_ = std::move(*guardian);
  return {};
}

// Makes the folder of the sockets unless it is there: for a new guardian, or when somebody removed
// it.
Result<void> Pool::Impl::EnsureRuntimeDirectory(bool has_guardian) {
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
    asio::post(io_, [this, text = unsafe + "; the folder of the workers' sockets is " +
                                  runtime_directory_.path()] { Log(LogLevel::kWarning, text); });
  }
  if (!has_guardian) return {};
  Log(LogLevel::kWarning, "the folder of the workers' sockets, " + before +
                              ", was removed by somebody; a new one is " +
                              runtime_directory_.path());
  std::lock_guard lock(mutex_);
  if (guardian_) guardian_->SetRuntimeDirectory(runtime_directory_.fd()->get());
  return {};
}

// Null: it has ended.
std::shared_ptr<Pool::Impl::Process> Pool::Impl::FindLocked(ProcessNumber number) const {
  const auto found = processes_.find(number);
  return found == processes_.end() ? nullptr : found->second;
}

std::shared_ptr<Pool::Impl::Process> Pool::Impl::Find(ProcessNumber number) const {
  std::lock_guard lock(mutex_);
  return FindLocked(number);
}

// Of its worker. kGone: that has no such process any more.
WorkerState Pool::Impl::StateLocked(const Process& process) const {
  const WorkerIndex worker = core_.roster().Find(process.number);
  return worker == kNoWorker ? WorkerState::kGone : core_.workers()[worker].state;
}

void Pool::Impl::StartProcess(Process& process) {
  {
    std::lock_guard lock(mutex_);
    if (guardian_ && guardian_->is_lost()) {
      if (auto held = FindLocked(process.number)) held_starts_.push_back(std::move(held));
      return;
    }
    if (StateLocked(process) != WorkerState::kStarting) {
      // Given up, or asked to end, before there was a process. No signal would reach it later.
      return EndProcessLocked(process.number, ExitStatus{.signal = SIGKILL});
    }
  }
  const auto secret = std::make_shared<std::string>();  // which the launch makes
  auto log_line = [this, id = process.worker_id, secret](std::string_view line) {
    if (options_.log) LogLine(id, HideSecret(std::string(line), *secret));
  };
  if (auto ready = EnsureGuardian(); !ready) {
    return OnSpawnFailed(process.number, std::move(ready.error()));
  }
  auto launch = Launch::Prepare(options_.adapter, {.io = &io_,
                                                   .worker_id = process.worker_id,
                                                   .process_number = process.number,
                                                   .runtime_directory = runtime_directory_.path(),
                                                   .runtime_directory_fd = runtime_directory_.fd(),
                                                   .cancel_grace = options_.cancel_grace,
                                                   .on_stdout_line = log_line});
  if (!launch) return OnSpawnFailed(process.number, std::move(launch.error()));
  process.secret = *secret = (*launch)->secret();
  auto pipe = OpenPipe();
  if (!pipe) return OnSpawnFailed(process.number, std::move(pipe.error()));
  SpawnSpec spec = (*launch)->spec();
  spec.stderr_fd = pipe->second.get();
  process.launch = std::move(*launch);
  process.stderr_reader = OutputReader::Start(io_, std::move(pipe->first), log_line);
  std::unique_lock lock(mutex_);
  process.started_at = steady_clock::now();
  const std::shared_ptr<Guardian> guardian = guardian_;
  lock.unlock();
  // There is none any more when the pool has ended meanwhile.
  Result<void> spawned = Fail(ErrorCode::kInternal, "the guardian process has ended");
  if (guardian) spawned = guardian->Spawn(process.number, spec);
  if (!spawned) return OnSpawnFailed(process.number, std::move(spawned.error()));
  lock.lock();
  process.is_spawned = true;
  if (process.owed_signal != 0) SignalLocked(process, process.owed_signal);
}

// A process that is yet to be spawned gets it then.
void Pool::Impl::SignalLocked(Process& process, int signal) {
  if (process.is_spawned) {
    if (guardian_) guardian_->Signal(process.number, signal);
  } else if (process.owed_signal != SIGKILL) {
    process.owed_signal = signal;
  }
}

void Pool::Impl::OnSpawned(ProcessNumber number, pid_t pid) {
  const std::shared_ptr<Process> process = Find(number);
  if (!process) return;
  {
    std::lock_guard lock(mutex_);
    process->pid = pid;
  }
  Log(LogLevel::kDebug, NameOf(*process) + " started");
  // A moment less than the core allows, so that it is the launch that says what was missing.
  const auto timeout = options_.adapter.start_timeout;
  const auto moment = std::min<std::chrono::milliseconds>(timeout / 10, kStartTimeoutMargin);
  process->launch->Connect(pid, process->started_at + timeout - moment,
                           [this, number](auto connection) {
                             // It may end before this: what begins a connection outlives the
                             // launch.
                             const std::shared_ptr<Process> found = Find(number);
                             if (found) OnConnected(*found, std::move(connection));
                           });
}

void Pool::Impl::OnSpawnFailed(ProcessNumber number, Error error) {
  const std::shared_ptr<Process> process = Find(number);
  if (!process) return;
  ReportStartFailure(*process, std::move(error));
  process->launch.reset();
  if (process->stderr_reader) process->stderr_reader->Close();
  std::lock_guard lock(mutex_);
  EndProcessLocked(number, ExitStatus{.code = 127});
}

void Pool::Impl::OnConnected(Process& process, Result<std::shared_ptr<Connection>> connection) {
  if (connection) {
    const auto time = steady_clock::now() - process.started_at;
    const Agreement& agreement = (*connection)->agreement();
    {
      std::lock_guard lock(mutex_);
      process.connection = std::move(*connection);
      process.start_time = std::chrono::duration_cast<std::chrono::microseconds>(time);
      process.protocol_version = agreement.version;
      process.streams = agreement.stream;
      process.sessions = agreement.session;
      core_.Ready(process.number, agreement.capacity, process.connection->checks_while_busy(),
                  steady_clock::now());
      ApplyLocked();
      changed_.notify_all();
    }
    Log(LogLevel::kDebug, NameOf(process) + " is ready after " + Milliseconds(time));
    return;
  }
  {
    std::lock_guard lock(mutex_);
    // Who was asked to end, or killed, in its start has not failed by not getting through with it.
    if (StateLocked(process) != WorkerState::kStarting) return;
  }
  connection.error().message = HideSecret(std::move(connection.error().message), process.secret);
  const bool closed = connection.error().code == ErrorCode::kWorkerLost;
  if (closed) {
    process.closed_in_start = std::move(connection.error());  // its exit will say more
  } else {
    ReportStartFailure(process, std::move(connection.error()));
  }
  std::lock_guard lock(mutex_);
  if (closed) {
    core_.ConnectionLost(process.number, steady_clock::now());
  } else {
    core_.Unusable(process.number, steady_clock::now());
  }
  ApplyLocked();
  changed_.notify_all();
}

void Pool::Impl::OnExited(ProcessNumber number, ExitStatus status, const ResourceUse& use) {
  const std::shared_ptr<Process> process = Find(number);
  if (!process) return;
  const std::string name = NameOf(*process);
  std::string tail = TailOf(*process);
  process->stderr_reader->Close();
  process->launch->Abort();
  std::unique_lock lock(mutex_);
  const WorkerIndex worker = core_.roster().Find(number);
  const bool was_ready = process->connection != nullptr;
  const bool was_asked = core_.stopping() || (start_error_ && !started_) ||
                         (worker != kNoWorker && core_.roster()[worker].process.was_asked_to_end);
  const bool failed = !was_ready || !started_;
  if (was_ready) process->connection->Abort();
  process->stderr_tail = tail;
  const std::string given_up = process->given_up;
  lock.unlock();

  const auto cpu_time = use.user_time + use.system_time;
  const std::string ended = name + " ended by " + Describe(status) + ReasonText(status, given_up) +
                            "; it used " + Milliseconds(cpu_time) + " of processor time and " +
                            std::to_string(use.max_rss_bytes >> 20) + " MiB";
  if (failed && !was_asked && !process->start_failure_reported) {
    Error error{
        .code = ErrorCode::kStartFailed,
        .message = "it ended by " + Describe(status) +
                   (was_ready ? " before the whole pool was ready" : " before it was ready")};
    if (process->closed_in_start) error.message += ": " + process->closed_in_start->message;
    error.exit = status;
    error.stderr_tail = tail;
    ReportStartFailure(*process, std::move(error));
  } else {
    Log(was_ready && !was_asked ? LogLevel::kWarning : LogLevel::kDebug, ended);
  }
  process->launch.reset();

  lock.lock();
  // Not before: until now the core may have given it a call, which the aborted connection ends.
  EndProcessLocked(number, status);
}

void Pool::Impl::EndProcessLocked(ProcessNumber number, ExitStatus status) {
  core_.Exited(number, status, steady_clock::now());
  ApplyLocked();
  processes_.erase(number);
  changed_.notify_all();
}

// The next start of a worker starts a new one, with the wait between starts that the core sees to.
void Pool::Impl::GiveUpGuardian(std::string_view why) {
  Log(LogLevel::kError, why);
  std::vector<ProcessNumber> numbers;
  {
    std::lock_guard lock(mutex_);
    // Destroyed, and with it the workers, on this thread's next turn, outside the lock.
    asio::post(io_, [old = std::shared_ptr<Guardian>(std::move(guardian_))] {});
    for (const auto& [number, process] : processes_) {
      if (!process->is_spawned) continue;
      process->given_up = why;
      numbers.push_back(number);
    }
  }
  for (ProcessNumber number : numbers) OnExited(number, ExitStatus{.signal = SIGKILL}, {});
  std::vector<std::shared_ptr<Process>> held;
  {
    std::lock_guard lock(mutex_);
    held.swap(held_starts_);
  }
  for (const auto& process : held) StartProcess(*process);
}

void Pool::Impl::AskToEnd(Process& process) {
  if (!process.launch) return;
  const bool was_ready = process.connection != nullptr;
  if (was_ready) {
    process.connection->AskToEnd();
  } else {
    process.launch->Abort();  // its handshake is over, and its stdin with it
  }
  std::lock_guard lock(mutex_);
  if (process.launch->EndsBySigterm()) SignalLocked(process, SIGTERM);
}

// The end of what it wrote to stderr.
std::string Pool::Impl::TailOf(const Process& process) {
  return HideSecret(process.stderr_reader->Tail(), process.secret);
}

// What comes after how a process ended: why it was killed, or that it was not this pool.
std::string Pool::Impl::ReasonText(const ExitStatus& status, const std::string& given_up) {
  if (status.signal != SIGKILL) return "";
  if (!given_up.empty()) return ", as " + given_up;
  return "; the pool did not send it (the kernel does when memory runs out: see its log)";
}

// What comes after "is killed: " and after "as ".
std::string Pool::Impl::KillText(const Process& process, KillReason why) const {
  const std::string detail = process.fault.empty() ? "" : ": " + process.fault;
  switch (why) {
    case KillReason::kNotStarted:
      return "it did not start";
    case KillReason::kSilent:
      return process.fault;
    case KillReason::kOutOfStep:
      return "it sent what the protocol does not allow" + detail;
    case KillReason::kOverran:
      return "it went on for over " + Milliseconds(options_.cancel_grace) +
             " with a call that was given up";
    case KillReason::kConnectionClosed:
      return "it did not end within " +
             Milliseconds(std::min(Core::kExitGrace, options_.stop_grace)) +
             " after it had closed its connection";
    case KillReason::kIgnoredEnd:
      return "it did not end within " + Milliseconds(options_.stop_grace) +
             " after it was asked to";
    case KillReason::kHadCalls:
      return "the pool ends, and its calls did not within " + Milliseconds(options_.stop_grace);
  }
  return "";
}

// The guardian may report its exit later, which nobody hears of then.
void Pool::Impl::Disown(Process& process) {
  if (process.connection) process.connection->Abort();
  if (process.launch) process.launch->Abort();
  process.launch.reset();
  if (process.stderr_reader) process.stderr_reader->Close();
  Log(LogLevel::kError, NameOf(process) + " was killed " + Milliseconds(Core::kKillLimit) +
                            " ago, as " + process.given_up +
                            ", and has not ended: a debugger or the kernel may hold it; the pool "
                            "goes on without it");
}

void Pool::Impl::ReportStartFailure(Process& process, Error error) {
  if (std::exchange(process.start_failure_reported, true)) return;
  if (error.stderr_tail.empty() && process.stderr_reader) {
    error.stderr_tail = TailOf(process);
  }
  if (error.code == ErrorCode::kStartTimeout) {
    const std::string limit = std::to_string(options_.adapter.start_timeout.count());
    error.message = "it was not ready within " + limit + " ms" +
                    (error.message.empty() ? "" : ": " + error.message);
  }
  error.worker_id = process.worker_id;
  error.message = NameOf(process) + " did not start: " + error.message;
  Log(LogLevel::kError, error.message);
  error.message = Prefix() + error.message;
  std::lock_guard lock(mutex_);
  last_start_error_ = error;
  ++start_failures_;
  if (!start_error_) start_error_ = std::move(error);
  changed_.notify_all();
}

// --- Health ------------------------------------------------------------------------------------

void Pool::Impl::Check(std::shared_ptr<Process> process) {
  const SteadyTime deadline = steady_clock::now() + options_.health.timeout;
  Connection& connection = *process->connection;
  const auto checked = [this, process](const Result<WorkerHealth>& health) {
    OnChecked(*process, health);
  };
  if (connection.checks_while_busy()) return connection.CheckHealth(deadline, checked);
  connection.CheckIdle(deadline, checked);  // the core has kept calls away from it
}

void Pool::Impl::OnChecked(Process& process, const Result<WorkerHealth>& health) {
  HealthReport report = HealthReport::kUnknown;
  if (health) {
    report = health->healthy ? HealthReport::kHealthy : HealthReport::kUnhealthy;
  } else if (health.error().code == ErrorCode::kDeadlineExceeded ||
             health.error().code == ErrorCode::kProtocolError) {
    report = HealthReport::kSilent;
  } else if (health.error().code == ErrorCode::kHandlerFailed) {
    report = HealthReport::kUnhealthy;
  } else if (health.error().code == ErrorCode::kWorkerLost) {
    report = HealthReport::kLost;
  }
  std::string news;
  {
    std::lock_guard lock(mutex_);
    const WorkerState before = StateLocked(process);
    if (report == HealthReport::kSilent) {
      process.fault = health.error().code == ErrorCode::kProtocolError
                          ? "its answer to a health check was none: " +
                                CutText(HideSecret(health.error().message, process.secret),
                                        kMostSharedTextBytes)
                          : "it did not answer a health check within " +
                                Milliseconds(options_.health.timeout) + ": it was stopped, or hung";
    }
    core_.HealthReported(process.number, report, steady_clock::now());
    ApplyLocked();
    const WorkerState after = StateLocked(process);
    if (after != before) {
      if (after == WorkerState::kUnready) news = " says that it is not well: it gets no calls";
      if (after == WorkerState::kReady) news = " is well again";
    }
    changed_.notify_all();
  }
  if (!news.empty()) Log(LogLevel::kWarning, NameOf(process) + news);
}

void Pool::Impl::Measure(Process& process) {
  const auto rss = ReadRssBytes(process.pid);
  std::lock_guard lock(mutex_);
  core_.MemoryMeasured(process.number, rss.value_or(0), steady_clock::now());
  ApplyLocked();
}

// --- Names and the log -------------------------------------------------------------------------

std::string Pool::Impl::Prefix() const {
  return options_.name.empty() ? "" : "pool " + options_.name + ": ";
}

void Pool::Impl::Log(LogLevel level, std::string_view text) const { Emit(level, Printable(text)); }

// A line that a worker wrote.
void Pool::Impl::LogLine(int worker_id, std::string_view line) const {
  Emit(LogLevel::kInfo, "worker " + std::to_string(worker_id) + ": " +
                            (options_.raw_worker_lines ? std::string(line) : Printable(line)));
}

void Pool::Impl::Emit(LogLevel level, std::string_view text) const {
  if (!options_.log) return;
  try {
    options_.log(level, Prefix() + std::string(text));
  } catch (...) {  // there is nowhere to tell it
  }
  EndIfForked();
}

// Names alone: a value may be a secret.
void Pool::Impl::LogNotInherited() {
  if (!options_.log) return;
  std::string names;
  for (const std::string& name : NotInherited(options_.adapter)) {
    names += (names.empty() ? "" : ", ") + Printable(name);
  }
  if (names.empty()) return;
  asio::post(io_, [this, text = "variables that workers do not inherit: " + names] {
    Log(LogLevel::kDebug, text);
  });
}

// On the io_context's thread, or with the lock.
std::string Pool::Impl::NameOf(const Process& process) const {
  return "worker " + std::to_string(process.worker_id) +
         (process.pid == 0 ? "" : " (pid " + std::to_string(process.pid) + ")");
}

void Pool::Impl::LogBreakerLocked() {
  const BreakerState state = core_.supervisor().breaker().state();
  if (std::exchange(logged_breaker_, state) == state) return;
  std::string text;
  switch (state) {
    case BreakerState::kClosed:
      text = "the breaker is closed: workers that end are replaced again";
      break;
    case BreakerState::kHalfOpen:
      text = "the breaker is half-open: one worker is started as a probe";
      break;
    case BreakerState::kOpen:
      text = BreakerTextLocked();
      break;
  }
  asio::post(io_, [this, state, text = std::move(text)] {
    Log(state == BreakerState::kOpen ? LogLevel::kError : LogLevel::kWarning, text);
  });
}

}  // namespace snakepit
