#include "src/core/simulation/world.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <variant>

namespace snakepit::simulation {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kSessionIds[Model::kSessions] = {"s0", "s1", "s2", "s3", "s4"};

[[noreturn]] void Violate(std::string what) { throw Violation{std::move(what)}; }

inline void Require(bool holds, const char* what) {
  if (!holds) [[unlikely]] {
    Violate(what);
  }
}

std::string Text(std::string_view text) { return std::string(text); }
template <typename T>
requires std::is_integral_v<T> std::string Text(T number) { return std::to_string(number); }

constexpr const char* kReportNames[] = {"it succeeded",
                                        "it was not sent",
                                        "it failed",
                                        "it went on for too long",
                                        "the worker is out of step",
                                        "the worker is ending",
                                        "the connection is lost"};
constexpr const char* kHealthNames[] = {"well", "not well", "silent", "lost", "unknown"};
constexpr const char* kRefusalNames[] = {"closed", "breaker open", "queue full", "session busy",
                                         "session lost"};
constexpr const char* kWhyNames[] = {"queue timeout", "deadline",     "cancelled",  "shutdown",
                                     "breaker open",  "session lost", "worker lost"};

}  // namespace

template <typename... Parts>
void World::Tell(const Parts&... parts) {
  if (story_ == nullptr) [[likely]] {
    return;
  }
  *story_ += "  " + std::to_string(now_.time_since_epoch() / milliseconds(1)) + " ms: ";
  ((*story_ += Text(parts)), ...);
  *story_ += "\n";
}

World::World(const PoolOptions& options, uint64_t seed, std::string* story)
    : options_(options),
      core_(options_, seed),
      model_(options_),
      story_(story),
      wanted_(options.workers) {
  model_.calls.reserve(64);
  Tell("the pool starts");
  core_.Start(now_);
  Observe();
}

// --- Steps -------------------------------------------------------------------------------------

void World::Take(const Step& step) {
  const uint32_t a = step.a, b = step.b;
  std::vector<Process>& processes = model_.processes;
  const auto pick = [&](auto&& fits) -> Process* {
    if (processes.empty()) return nullptr;
    for (size_t i = 0; i < processes.size(); ++i) {
      Process& process = processes[(a + i) % processes.size()];
      if (fits(process)) return &process;
    }
    return nullptr;
  };
  switch (step.op) {
    case Op::kSubmit:
      return Submit(a, b);
    case Op::kEndCall:
      return EndCall(a, b);
    case Op::kCancel:
      return Cancel(a);
    case Op::kEndSession: {
      const int session = a % Model::kSessions;
      Tell("the user ends session ", kSessionIds[session]);
      model_.EndSession(session, now_);
      core_.EndSession(kSessionIds[session], now_);
      return Observe();
    }
    case Op::kReady:
      // Also of a process that was asked to end, or killed, meanwhile.
      if (Process* p = pick([](const Process& q) { return !q.is_ready && !q.is_closed; })) {
        Ready(*p, 1 + b % 3, b & 4);
      }
      return;
    case Op::kExit: {
      // Mostly of one that has a reason to.
      const bool any = b % 4 == 0;
      if (Process* p = pick([any](const Process& q) {
            return any || q.is_killed || q.is_asked || q.is_closed;
          })) {
        Exit(p->number, static_cast<int>(b % 2) * 9);
      }
      return;
    }
    case Op::kLoseConnection:
      if (Process* p = pick([](const Process& q) { return !q.is_closed; })) {
        Tell("process ", p->number, " closes its connection");
        p->is_closed = true;
        core_.ConnectionLost(p->number, now_);
        Observe();
      }
      return;
    case Op::kGiveUp:
      if (Process* p = pick([](const Process& q) { return !q.is_closed; })) {
        Tell("process ", p->number, " is given up");
        core_.Unusable(p->number, now_);
        Observe();
      }
      return;
    case Op::kReportHealth:
      if (Process* p = pick([](const Process& q) { return q.is_checked; })) {
        constexpr HealthReport kReports[] = {HealthReport::kHealthy,   HealthReport::kHealthy,
                                             HealthReport::kLost,      HealthReport::kUnhealthy,
                                             HealthReport::kUnhealthy, HealthReport::kUnhealthy,
                                             HealthReport::kSilent,    HealthReport::kUnknown};
        ReportHealth(*p, kReports[b % 8]);
      }
      return;
    case Op::kReportMemory:
      if (Process* p = pick([](const Process& q) { return q.is_measured; })) {
        p->is_measured = false;
        Tell("process ", p->number, " has ", 1 + b % 3000, " bytes");
        core_.MemoryMeasured(p->number, 1 + b % 3000, now_);
        Observe();
      }
      return;
    case Op::kPass: {
      constexpr int kTimes[] = {0, 1, 3, 10, 50};
      if (a % 8 < 5) return Pass(milliseconds(kTimes[a % 8]));
      const auto next = core_.NextWake();
      if (!next) return;
      return Pass(std::chrono::duration_cast<milliseconds>(std::max(*next - now_, {})) +
                  milliseconds(a % 8 == 7 ? 1 : 0));
    }
    case Op::kStale:
      return Stale(a, b);
    case Op::kRestart: {
      const bool refused = model_.closed || core_.breaker().state() != BreakerState::kClosed;
      const bool joins = core_.restart_state() == RestartState::kRunning;
      Tell("the user restarts the workers");
      Require(core_.Restart(now_).has_value() != refused, "a restart is refused, or is not");
      if (!refused && !joins) restart_up_to_ = last_process_;
      return Observe();
    }
    case Op::kResize:
      return Resize(1 + static_cast<int>(a % 4));
    case Op::kClose:
      Tell("the pool is closed");
      core_.Close();
      model_.closed = true;
      return Observe();
    case Op::kStop:
      return Stop();
  }
}

void World::Submit(uint32_t a, uint32_t b) {
  constexpr int kQueueTimes[] = {0, 5, 50, 5000};
  constexpr int kTimes[] = {10, 100, 30'000, 30'000};
  Call call;
  call.session = a % 8 < Model::kSessions ? static_cast<int>(a % 8) : -1;
  call.is_fresh = true;
  call.bytes = b % 4 * 30;
  call.submitted = now_;
  call.queue_deadline = now_ + milliseconds(kQueueTimes[b / 4 % 4]);
  call.deadline = now_ + milliseconds(kTimes[b / 16 % 4]);
  const auto wanted = model_.RefusalOf(call, core_.breaker().state(), now_);
  const auto id =
      core_.Submit({.session_id = call.session < 0 ? std::string_view() : kSessionIds[call.session],
                    .queue_deadline = call.queue_deadline,
                    .deadline = call.deadline,
                    .bytes = call.bytes},
                   now_);
  if (!id) {
    Tell("a call ", call.session < 0 ? "" : "in session ",
         call.session < 0 ? "" : kSessionIds[call.session],
         " is refused: ", kRefusalNames[static_cast<int>(id.error())], ", which was to be ",
         wanted ? kRefusalNames[static_cast<int>(*wanted)] : "accepted");
    Require(wanted.has_value(), "a call is refused that is to be accepted");
    Require(*wanted == id.error(), "a call is refused for the wrong reason");
    return Observe();
  }
  Tell("call ", *id, " is submitted", call.session < 0 ? "" : " in session ",
       call.session < 0 ? "" : kSessionIds[call.session]);
  Require(!wanted.has_value(), "a call is accepted that is to be refused");
  Require(*id > last_call_, "the ids of calls do not grow");
  last_call_ = call.id = *id;
  model_.Accept(call, now_);
  Observe();
}

void World::EndCall(uint32_t a, uint32_t b) {
  const std::vector<Call>& calls = model_.calls;
  for (size_t i = 0; i < calls.size(); ++i) {
    const Call& call = calls[(a + i) % calls.size()];
    if (call.process == 0 || call.is_lost) continue;
    const Process* process = call.process_ended ? nullptr : model_.Find(call.process);
    CallReport report = CallReport::kSucceeded;
    if (process == nullptr || process->is_closed) {
      if (b % 4 != 0) report = CallReport::kLost;  // else the answer had come before
    } else {
      switch (b % 16) {
        case 0:
        case 1:
          report = CallReport::kFailed;
          break;
        case 2:
          report = CallReport::kFailedOverran;
          break;
        case 3:
          report = CallReport::kFailedUnusable;
          break;
        case 4:
          report = CallReport::kLost;
          break;
        case 5:
          report = CallReport::kRefused;
          break;
        case 6:
          report = CallReport::kUnsent;
          break;
        default:
          break;
      }
    }
    return EndCallWith(call, report);
  }
}

void World::EndCallWith(Call call, CallReport report) {
  Tell("call ", call.id, " ends: ", kReportNames[static_cast<int>(report)]);
  Process* const process = call.process_ended ? nullptr : model_.Find(call.process);
  Require(core_.IsInFlight(call.id), "a call in flight is not known as such");
  if (report == CallReport::kLost) {
    model_.FindCall(call.id)->is_lost = true;
    if (process != nullptr) process->is_closed = true;
    core_.CallEnded(call.id, report, now_);
    return Observe();
  }
  const bool answered = report == CallReport::kSucceeded || report == CallReport::kFailed;
  if (process != nullptr && answered) {
    process->has_served = true;
    if (process->id < wanted_ && !process->is_asked) seats_[process->id].failures = 0;
  }
  const bool is_replaced =
      report == CallReport::kRefused ||
      (report == CallReport::kFailedOverran && process != nullptr && process->in_flight > 1);
  if (process != nullptr && is_replaced && process->Serves()) {
    overran_ = process->number;
    Failed(*process);
  }
  if (process != nullptr && report == CallReport::kRefused) process->is_ending = true;
  const bool has_begun = report != CallReport::kUnsent && report != CallReport::kRefused;
  model_.Ended(call.id, has_begun, now_);
  core_.CallEnded(call.id, report, now_);
  Observe();
  overran_ = 0;
}

void World::Cancel(uint32_t a) {
  CallId id = a % 50;  // perhaps of one that has ended
  if (!model_.calls.empty() && a % 8 != 0) id = model_.calls[a % model_.calls.size()].id;
  const Call* call = model_.FindCall(id);
  if (call != nullptr && call->process == 0) cancelled_ = id;
  Tell("call ", id, " is cancelled");
  core_.Cancel(id, now_);
  Observe();
  Require(cancelled_ == 0, "a queued call was cancelled and has not ended");
}

void World::Ready(Process& process, int capacity, bool checks_while_busy) {
  Tell("process ", process.number, " is ready for ", capacity, " calls");
  if (process.state == WorkerState::kStarting) {
    process.capacity = capacity;
    process.checks_while_busy = checks_while_busy;
  }
  process.is_ready = true;
  core_.Ready(process.number, capacity, checks_while_busy, now_);
  Observe();
}

// What follows for the restarts of its seat from the end, or the loss, of a process.
void World::Failed(const Process& process) {
  if (process.id >= wanted_ || model_.stopped) return;
  const Core::Seat& known = core_.seats()[process.id];
  if (core_.workers()[known.worker].process != process.number) return;
  Seat& seat = seats_[process.id];
  seat.failures = process.has_served ? 0 : seat.failures + 1;
  milliseconds wait{0};
  if (seat.failures > 0) {
    wait = options_.restart_backoff;
    for (int i = 1; i < seat.failures && wait < options_.max_restart_backoff; ++i) wait *= 2;
    wait = std::min(wait, options_.max_restart_backoff) / 2;
  }
  seat.not_before = now_ + (known.successor >= 0 ? milliseconds(0) : wait);
}

void World::Exit(ProcessNumber number, int signal) {
  Tell("process ", number, " ends");
  const Process process = *model_.Find(number);
  if (!process.is_asked) Failed(process);
  for (Call& call : model_.calls) {
    if (call.process == number) call.process_ended = true;
  }
  std::erase_if(model_.processes, [number](const Process& p) { return p.number == number; });
  if (ended_.size() >= 16) ended_.erase(ended_.begin());
  ended_.push_back(number);
  core_.Exited(number, ExitStatus{.code = 0, .signal = signal}, now_);
  Observe();
  for (const Call& call : model_.calls) {
    Require(call.process != number || !call.is_lost,
            "a lost call outlives the exit that explains it");
  }
}

void World::ReportHealth(Process& process, HealthReport report) {
  Tell("process ", process.number, " is ", kHealthNames[static_cast<int>(report)]);
  process.is_checked = false;
  const bool served = process.Serves();
  const ProcessNumber number = process.number;
  if (report == HealthReport::kLost && process.in_flight == 0) process.is_closed = true;
  core_.HealthReported(number, report, now_);
  Observe();
  if (report == HealthReport::kSilent && served) {
    Require(Living(number).is_killed, "a silent worker is not killed");
  }
}

void World::Pass(milliseconds time) {
  now_ += time;
  Tell("time has passed");
  core_.Tick(now_);
  Observe();
  const auto next = core_.NextWake();
  Require(!next || *next > now_, "the time that a timer was set to is over");
  for (const Call& call : model_.calls) {
    Require(call.process != 0 || call.expiry() > now_, "a queued call has not ended in time");
  }
}

void World::Stale(uint32_t a, uint32_t b) {
  const ProcessNumber number = ended_.empty() ? 1'000'000 : ended_[a % ended_.size()];
  Tell("something is heard of process ", number, ", which has ended");
  switch (b % 6) {
    case 0:
      core_.Ready(number, 3, true, now_);
      break;
    case 1:
      core_.Exited(number, {}, now_);
      break;
    case 2:
      core_.Unusable(number, now_);
      break;
    case 3:
      core_.ConnectionLost(number, now_);
      break;
    case 4:
      core_.HealthReported(number, HealthReport::kSilent, now_);
      break;
    case 5:
      core_.MemoryMeasured(number, 1'000'000, now_);
      break;
  }
  core_.TakeEffects(&effects_);
  Require(effects_.empty(), "an event of a process that has ended had an effect");
}

void World::Resize(int workers) {
  Tell("the user wants ", workers, " workers");
  for (int id = std::min(workers, wanted_); id < kIds; ++id) seats_[id] = {};
  if (!model_.closed) wanted_ = workers;
  Require(core_.Resize(workers, now_).has_value() != model_.closed,
          "a change of size is refused, or is not");
  Observe();
}

void World::Stop() {
  Tell("the pool ends");
  model_.closed = model_.stopped = true;
  core_.Stop(now_);
  Observe();
  Require(model_.queued() == 0, "a call is queued though the pool ends");
}

// --- Effects -----------------------------------------------------------------------------------

Process& World::Living(ProcessNumber number) {
  Process* process = model_.Find(number);
  Require(process != nullptr, "an effect concerns a process that is not there");
  return *process;
}

void World::On(const SpawnWorker& effect) {
  Tell("-> process ", effect.process, " of worker ", effect.worker_id, " is to be started");
  Require(!model_.stopped, "a process is started though the pool ends");
  Require(effect.process > last_process_, "the number of a process is not new");
  Require(effect.worker_id >= 0 && effect.worker_id < wanted_, "a process of no wanted worker");
  const BreakerState breaker = core_.breaker().state();
  Require(breaker != BreakerState::kOpen, "a process is started though the breaker is open");
  const Core::Seat& known = core_.seats()[effect.worker_id];
  const bool is_successor =
      known.successor >= 0 && core_.workers()[known.successor].process == effect.process;
  if (breaker == BreakerState::kHalfOpen) {
    Require(model_.Find(probe_) == nullptr, "the half-open breaker has two probes");
    probe_ = effect.process;
  } else if (!is_successor) {
    Require(now_ >= seats_[effect.worker_id].not_before, "a worker was not backed off from");
  }
  last_process_ = effect.process;
  model_.processes.push_back({.number = effect.process, .id = effect.worker_id});
}

void World::On(const DispatchCall& effect) {
  Tell("-> call ", effect.call, " goes to process ", effect.process);
  const Model::Dispatch wanted = model_.NextDispatch(now_);
  Process& process = Living(effect.process);
  Call* const call = model_.FindCall(effect.call);
  Require(call != nullptr, "a call is dispatched that has ended");
  Require(call->process == 0, "a call is dispatched twice");
  Require(process.is_ready && !process.is_asked && !process.is_killed && !process.is_closed,
          "a call goes to a worker that is not ready");
  Require(process.HasSpareCapacity(), "a worker gets more calls than it takes");
  Require(wanted.call == effect.call, "a call is dispatched out of its turn");
  Require(wanted.process == effect.process, "a call goes to the wrong worker");
  Require(wanted.session_moved == effect.session_moved, "the move of a session is not told");
  model_.Dispatched(wanted);
}

void World::On(const snakepit::EndCall& effect) {
  using Why = snakepit::EndCall::Why;
  Tell("-> call ", effect.call, " is ended: ", kWhyNames[static_cast<int>(effect.why)]);
  Call* const found = model_.FindCall(effect.call);
  Require(found != nullptr, "a call ends twice");
  const Call call = *found;
  if (effect.why == Why::kWorkerLost) {
    Require(call.is_lost && call.process_ended, "a call is lost whose process has not ended");
    Require(effect.process == call.process && effect.exit.has_value(), "a loss is not explained");
  } else {
    Require(call.process == 0, "a call ends as queued that is in flight");
  }
  switch (effect.why) {
    case Why::kQueueTimeout:
      Require(now_ >= call.queue_deadline, "a queue timeout comes too early");
      break;
    case Why::kDeadlineExceeded:
      Require(now_ >= call.deadline, "a deadline passes too early");
      break;
    case Why::kCancelled:
      Require(cancelled_ == call.id, "a call is cancelled that nobody gave up");
      cancelled_ = 0;
      break;
    case Why::kShutdown:
      Require(model_.stopped, "a call ends by a shutdown that was none");
      break;
    case Why::kBreakerOpen:
      Require(core_.breaker().state() != BreakerState::kClosed && !model_.AnyServes(),
              "a call ends for an open breaker though a worker serves");
      break;
    case Why::kSessionLost:
      Require(model_.IsOfLostSession(call), "a call ends for a session that is not lost");
      break;
    case Why::kWorkerLost:
      break;
  }
  model_.Ended(call.id, /*has_begun=*/false, now_);
}

void World::On(const AskWorkerToEnd& effect) {
  Tell("-> process ", effect.process, " is asked to end");
  Process& process = Living(effect.process);
  Require(!process.is_asked && !process.is_killed, "a process is asked to end twice");
  Require(process.in_flight == 0, "a process is asked to end that has a call");
  process.is_asked = true;
}

void World::On(const KillWorker& effect) {
  Tell("-> process ", effect.process, " is killed");
  Process& process = Living(effect.process);
  Require(!process.is_killed, "a process is killed twice");
  process.is_killed = true;
}

void World::On(const ReportStartTimeout& effect) {
  Require(!Living(effect.process).is_asked, "a process that was asked to end has not started");
}

void World::On(const CheckWorker& effect) {
  Tell("-> process ", effect.process, " is asked for its health");
  Process& process = Living(effect.process);
  Require(!process.is_checked, "a worker is checked twice at a time");
  Require(process.checks_while_busy || process.in_flight == 0, "a busy worker is checked in vain");
  process.is_checked = true;
}

void World::On(const MeasureWorker& effect) { Living(effect.process).is_measured = true; }

void World::On(const EndWorkerSession& effect) {
  Require(Living(effect.process).is_ready, "a worker that is not ready is told of a session");
}

// --- Invariants --------------------------------------------------------------------------------

void World::Observe() {
  ++events_;
  core_.TakeEffects(&effects_);
  for (const Effect& effect : effects_) {
    if (const auto* spawn = std::get_if<SpawnWorker>(&effect)) On(*spawn);
  }
  LookAtWorkers();
  for (const Effect& effect : effects_) {
    if (!std::holds_alternative<SpawnWorker>(effect)) {
      std::visit([this](const auto& e) { On(e); }, effect);
    }
  }
  LookAtCalls();
}

void World::LookAtWorkers() {
  const auto& workers = core_.workers();
  const BreakerState breaker = core_.breaker().state();
  if (breaker != breaker_) {
    Tell("-> the breaker is ", BreakerStateName(breaker));
    if (breaker != BreakerState::kHalfOpen) probe_ = 0;
    breaker_ = breaker;
  }
  Require(static_cast<int>(core_.seats().size()) == wanted_, "the pool has not the wanted size");
  int successors = 0;
  for (int id = 0; id < wanted_; ++id) {
    const Core::Seat& seat = core_.seats()[id];
    const Core::Worker& worker = workers[seat.worker];
    Require(worker.id == id, "a worker has another id than its seat");
    Require(model_.stopped || (!worker.is_surplus && worker.state != WorkerState::kGone),
            "a wanted worker neither lives, starts nor backs off");
    if (seat.successor >= 0) {
      ++successors;
      Require(workers[seat.successor].id == id, "a successor has another id than its seat");
    }
  }
  Require(successors <= 1, "two workers are replaced at a time");
  size_t living = 0;
  for (int w = 0; w < static_cast<int>(workers.size()); ++w) {
    const Core::Worker& worker = workers[w];
    if (worker.state == WorkerState::kGone) continue;
    const bool has_seat = worker.id < wanted_ && (core_.seats()[worker.id].worker == w ||
                                                  core_.seats()[worker.id].successor == w);
    Require(has_seat || worker.is_surplus || model_.stopped, "a worker that nobody wants lives on");
    if (worker.state == WorkerState::kBackingOff) {
      Require(worker.timer || breaker != BreakerState::kClosed, "a worker backs off for ever");
      continue;
    }
    ++living;
    Process& process = Living(worker.process);
    Require(!worker.was_ready || process.capacity == worker.capacity, "a capacity is not as told");
    if (process.Serves() && worker.state == WorkerState::kDraining && !model_.stopped &&
        worker.id < wanted_ && overran_ != worker.process) {
      const Core::Worker& successor = workers[core_.seats()[worker.id].worker];
      Require(successor.state == WorkerState::kReady,
              "a worker drains before its successor is ready");
    }
    process.state = worker.state;
    process.order = w;
    const bool waits = worker.state == WorkerState::kStarting ||
                       worker.state == WorkerState::kStopping ||
                       (worker.state == WorkerState::kDraining && model_.stopped);
    Require(!waits || worker.timer, "a worker may stay in a state for ever");
    Require(worker.state != WorkerState::kKilled || process.is_killed ||
                std::any_of(effects_.begin(), effects_.end(),
                            [](const Effect& e) { return std::holds_alternative<KillWorker>(e); }),
            "a worker counts as killed that was not");
  }
  Require(living == model_.processes.size(), "a process is forgotten");
  if (core_.restart_state() == RestartState::kDone) {
    for (const Process& process : model_.processes) {
      Require(process.number > restart_up_to_, "a restart ends before the last old process");
    }
  }
}

void World::LookAtCalls() {
  const Model::Dispatch next = model_.NextDispatch(now_);
  Require(next.call == 0, "a call waits though a worker has room for it");
  const bool is_out = breaker_ != BreakerState::kClosed && !model_.AnyServes();
  for (Call& call : model_.calls) {
    call.is_fresh = false;
    if (call.process != 0) continue;
    Require(!model_.IsOfLostSession(call), "a call waits for a session that is lost");
    Require(!is_out || model_.IsToFinish(call), "a call waits though the breaker is open");
  }
  Require(core_.calls() == model_.calls.size(), "the number of calls is wrong");
  Require(core_.queued() == model_.queued(), "the number of queued calls is wrong");
  Require(core_.queued_bytes() == model_.queued_bytes(), "the bytes of queued calls are wrong");
  for (const Process& process : model_.processes) {
    Require(process.in_flight == core_.workers()[process.order].in_flight,
            "the number of calls in flight is wrong");
  }
  const auto [least, most] = model_.SessionsBetween(now_);
  Require(core_.sessions() >= least && core_.sessions() <= most, "the number of sessions is wrong");
}

// --- The end -----------------------------------------------------------------------------------

bool World::IsAtRest() const {
  if (!model_.calls.empty()) return false;
  if (model_.stopped) return core_.AllGone();
  return core_.AllReady() && core_.breaker().state() == BreakerState::kClosed &&
         core_.restart_state() != RestartState::kRunning &&
         static_cast<int>(model_.processes.size()) == wanted_;
}

void World::ComeToRest() {
  Tell("no more faults");
  for (int round = 0; !IsAtRest(); ++round) {
    if (round == 1000) Violate("the pool does not come back to full strength");
    // Whatever may happen at once.
    for (bool more = true; more;) {
      more = false;
      for (size_t i = 0; i < model_.processes.size(); ++i) {
        Process& process = model_.processes[i];
        if (process.is_killed || process.is_asked || process.is_closed) {
          Exit(process.number, 9);
          more = true;
          break;
        }
        if (process.is_checked) ReportHealth(process, HealthReport::kHealthy);
        if (!process.is_ready) {
          Ready(process, 2, true);
          more = true;
          break;
        }
      }
      for (size_t i = 0; i < model_.calls.size(); ++i) {
        const Call call = model_.calls[i];
        if (call.process == 0 || call.is_lost) continue;
        EndCallWith(call, call.process_ended ? CallReport::kLost : CallReport::kSucceeded);
        more = true;
        break;
      }
    }
    if (IsAtRest()) break;
    const auto next = core_.NextWake();
    if (!next) Violate("nothing is waited for, and the pool is not at full strength");
    Pass(std::chrono::ceil<milliseconds>(std::max(*next - now_, {})));
  }
  if (model_.stopped) {
    Require(!core_.NextWake(), "a timer is left");
    Require(model_.processes.empty(), "a process is left");
    return;
  }
  Stop();
  ComeToRest();
}

}  // namespace snakepit::simulation
