#include "storm/faults.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <optional>
#include <utility>

#include "storm/callers.h"

namespace snakepit::storm {
namespace {

using std::chrono::milliseconds;

// A worker's process, held by a pidfd so that a signal cannot reach a later process of that pid.
struct Target {
  WorkerInfo worker;
  UniqueFd process;

  void Signal(int signal) const {
    syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0);
  }
};

// Picks a worker that has a process and is not among `excluded`.
std::optional<Target> PickWorker(const Pool& pool, Random& random,
                                 const std::set<pid_t>& excluded) {
  std::vector<WorkerInfo> workers = pool.Workers();
  std::erase_if(workers, [&](const WorkerInfo& worker) {
    return worker.pid == 0 || excluded.contains(worker.pid);
  });
  if (workers.empty()) return std::nullopt;
  Target target;
  target.worker =
      workers[static_cast<size_t>(random.Between(0, static_cast<int64_t>(workers.size()) - 1))];
  target.process = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, target.worker.pid, 0)));
  // The process may have ended between the two.
  const std::vector<WorkerInfo> now = pool.Workers();
  const bool is_there = std::any_of(now.begin(), now.end(), [&](const WorkerInfo& worker) {
    return worker.pid == target.worker.pid;
  });
  if (!target.process.valid() || !is_there) return std::nullopt;
  return target;
}

struct Garbage {
  const char* name;
  std::string bytes;
};

Garbage DrawGarbage(Random& random) {
  switch (random.Between(0, 5)) {
    case 0:
      return {"a line", "hello, world\n"};
    case 1:
      return {"an empty frame", std::string(4, '\0')};
    case 2:
      return {"a frame of 2 GiB", "\x7f\xff\xff\xff{"};
    case 3:
      return {"half a frame", std::string("\0\0\0\x40{\"id\":1", 11)};
    case 4:
      return {"a frame without a message", std::string("\0\0\0\x05{\"id\"", 9)};
    default:
      std::string bytes;
      for (int64_t left = random.Between(4, 256); left > 0; --left) {
        bytes += static_cast<char>(random.Between(0, 255));
      }
      return {"random bytes", std::move(bytes)};
  }
}

}  // namespace

Faults::Faults(Pool& pool, Recorder& recorder, uint64_t seed, std::string control_file, int workers)
    : pool_(pool),
      recorder_(recorder),
      seed_(seed),
      control_file_(std::move(control_file)),
      workers_(workers) {}

Faults::~Faults() { Stop(); }

Result<void> Faults::WriteControl(const std::string& control_file, int64_t delay_ms,
                                  int64_t exit_code) {
  const std::string draft = control_file + ".new";
  std::ofstream(draft) << delay_ms << " " << exit_code << "\n";
  // Replaced at once, so that no worker reads half of it.
  if (std::rename(draft.c_str(), control_file.c_str()) != 0) {
    return Fail(ErrnoError("cannot write " + control_file, errno));
  }
  return {};
}

void Faults::Start(int round) {
  stopping_ = false;
  thread_ = std::thread([this, round] { Loop(round); });
}

void Faults::Stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
  while (!stopped_.empty()) Continue(stopped_.begin());
  slow_start_.until = failed_start_.until = Time(0);
  UpdateControl();
  (void)pool_.Resize(workers_);
}

bool Faults::HasKilledOneOf(const std::vector<WorkerInfo>& workers) const {
  return std::any_of(workers.begin(), workers.end(),
                     [this](const WorkerInfo& worker) { return killed_.contains(worker.pid); });
}

std::vector<Fault> Faults::Take() {
  killed_.clear();  // their pids may be used again
  return std::exchange(faults_, {});
}

std::array<int64_t, kFaultKinds> Faults::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

std::array<int64_t, kCommands> Faults::command_counts() const {
  std::lock_guard lock(mutex_);
  return command_counts_;
}

void Faults::Loop(int round) {
  Random random(seed_, ~static_cast<uint64_t>(round));
  Time next = Now() + random.Milliseconds(20, 300);
  std::unique_lock lock(mutex_);
  for (;;) {
    Time wake = next;
    if (!stopped_.empty()) wake = std::min(wake, stopped_.begin()->first);
    for (const StartFault* fault : {&slow_start_, &failed_start_}) {
      if (fault->until > Time(0)) wake = std::min(wake, fault->until);
    }
    changed_.wait_until(lock, std::chrono::steady_clock::time_point(wake),
                        [this] { return stopping_; });
    if (stopping_) return;
    lock.unlock();
    const Time now = Now();
    while (!stopped_.empty() && stopped_.begin()->first <= now) Continue(stopped_.begin());
    UpdateControl();
    if (next <= now) {
      Inject(random);
      next = now + random.Milliseconds(20, 300);
    }
    lock.lock();
  }
}

void Faults::Inject(Random& random) {
  const int64_t draw = random.Between(1, 100);
  if (draw <= 20) return Kill(random);
  if (draw <= 26) return Terminate(random);
  if (draw <= 44) return StopWorker(random);
  if (draw <= 47) return Restart();
  if (draw <= 50) return Resize(random);
  if (draw <= 57) return SlowStart(random);
  if (draw <= 62) return FailedStart(random);
  if (draw <= 75) return Call(random, Command::kGarbage);
  if (draw <= 88) return Call(random, Command::kCrash);
  Call(random, Command::kFlood);
}

size_t Faults::Note(FaultKind kind, const WorkerInfo& worker) {
  const Time now = Now();
  faults_.push_back(
      {.kind = kind, .worker = worker.id, .pid = worker.pid, .begin = now, .end = now});
  std::lock_guard lock(mutex_);
  ++counts_[static_cast<size_t>(kind)];
  return faults_.size() - 1;
}

void Faults::Kill(Random& random) {
  const auto target = PickWorker(pool_, random, killed_);
  if (!target) return;
  Note(FaultKind::kKill, target->worker);
  killed_.insert(target->worker.pid);
  target->Signal(SIGKILL);
}

// SIGTERM, as from an operator or an ending service. An idle worker ends at once, a busy one after
// its calls.
void Faults::Terminate(Random& random) {
  const auto target = PickWorker(pool_, random, killed_);
  if (!target) return;
  Note(FaultKind::kTerminate, target->worker);
  killed_.insert(target->worker.pid);
  target->Signal(SIGTERM);
}

// These two are not faults. They must not harm any call.
void Faults::Restart() {
  Note(FaultKind::kRestart, WorkerInfo{.id = -1});
  (void)pool_.Restart(milliseconds(1));  // it goes on after this time
}

void Faults::Resize(Random& random) {
  Note(FaultKind::kResize, WorkerInfo{.id = -1});
  (void)pool_.Resize(static_cast<int>(random.Between(std::max(1, workers_ - 1), workers_ + 2)));
}

void Faults::StopWorker(Random& random) {
  std::set<pid_t> excluded = killed_;
  for (const auto& [until, stopped] : stopped_) excluded.insert(faults_[stopped.fault].pid);
  // A third of the stops outlast a call's deadline and the grace after it.
  const auto duration =
      random.Percent(33) ? random.Milliseconds(1'000, 3'000) : random.Milliseconds(20, 500);
  auto target = PickWorker(pool_, random, excluded);
  if (!target) return;
  const size_t fault = Note(FaultKind::kStop, target->worker);
  target->Signal(SIGSTOP);
  stopped_.emplace(Now() + duration,
                   Stopped{.process = std::move(target->process), .fault = fault});
}

void Faults::Continue(std::multimap<Time, Stopped>::iterator stopped) {
  syscall(SYS_pidfd_send_signal, stopped->second.process.get(), SIGCONT, nullptr, 0);
  faults_[stopped->second.fault].end = Now();
  stopped_.erase(stopped);
}

void Faults::SlowStart(Random& random) {
  const int64_t delay_ms = random.Between(50, 800);
  const auto duration = random.Milliseconds(300, 2'000);
  if (slow_start_.until > Time(0)) return;
  slow_start_ = {.until = Now() + duration,
                 .value = delay_ms,
                 .fault = Note(FaultKind::kSlowStart, WorkerInfo{.id = -1})};
  UpdateControl();
}

void Faults::FailedStart(Random& random) {
  const int64_t exit_code = random.Between(1, 120);
  const auto duration = random.Milliseconds(100, 600);
  if (failed_start_.until > Time(0)) return;
  failed_start_ = {.until = Now() + duration,
                   .value = exit_code,
                   .fault = Note(FaultKind::kFailedStart, WorkerInfo{.id = -1})};
  UpdateControl();
}

// Ends the faults whose time is over.
void Faults::UpdateControl() {
  const Time now = Now();
  bool changed = false;
  for (StartFault* fault : {&slow_start_, &failed_start_}) {
    if (fault->value == 0) continue;
    changed = true;
    if (fault->until > now) continue;
    faults_[fault->fault].end = now;
    *fault = {};
  }
  if (changed) (void)WriteControl(control_file_, slow_start_.value, failed_start_.value);
}

// A command that harms the worker that gets it.
void Faults::Call(Random& random, Command command) {
  CallPlan plan;
  plan.call.command = command;
  plan.call.method = Method::kSubmit;
  plan.call.timeout = kMostTimeout;
  plan.call.queue_timeout = kMostTimeout;
  if (command == Command::kGarbage) {
    Garbage garbage = DrawGarbage(random);
    plan.call.detail = garbage.name;
    plan.args["bytes"] = Bytes{std::move(garbage.bytes)};
  } else if (command == Command::kFlood) {
    const int64_t bytes = random.Between(1, 8) << 20;
    plan.call.detail = fmt::format("of {} bytes", bytes);
    plan.args["bytes"] = bytes;
  } else if (random.Percent(50)) {
    const int64_t code = random.Between(0, 3);
    plan.call.detail = fmt::format("by exit code {}", code);
    plan.args["code"] = code;
  } else {
    constexpr int kSignals[] = {SIGSEGV, SIGABRT, SIGKILL, SIGBUS};
    const int signal = kSignals[random.Between(0, 3)];
    plan.call.detail = fmt::format("by signal {}", signal);
    plan.args["signal"] = signal;
  }
  {
    std::lock_guard lock(mutex_);
    ++command_counts_[static_cast<size_t>(command)];
  }
  recorder_.Submit(std::move(plan));
}

}  // namespace snakepit::storm
