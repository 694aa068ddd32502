#include "src/core/simulation/world.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <variant>

namespace snakepit::simulation {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kSessionIds[Model::kSessions] = {"s0", "s1", "s2", "s3", "s4"};

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
}  // namespace

World::World(const PoolOptions& options, uint64_t seed, std::string* story)
    : Observer(options, seed, story) {
  Tell("the pool starts");
  core_.Start(now_);
  Observe();
}

// --- Steps -------------------------------------------------------------------------------------

void World::Take(const Step& step) {
  const uint32_t a = step.a, b = step.b;
  switch (step.op) {
    case Op::kSubmit:
      return Submit(a, b);
    case Op::kEndCall:
      return EndCall(a, b);
    case Op::kCancel:
      return Cancel(a);
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
    case Op::kReady:
    case Op::kExit:
    case Op::kLoseConnection:
    case Op::kGiveUp:
    case Op::kReportHealth:
    case Op::kReportMemory:
      return TakeOfProcess(step);
    case Op::kEndSession:
    case Op::kRestart:
    case Op::kResize:
    case Op::kClose:
    case Op::kStop:
      return TakeOfUser(step);
  }
}

// Takes a step of a process, if there is one that fits.
void World::TakeOfProcess(const Step& step) {
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
    case Op::kReady:
      // A process that was asked to end, or killed, meanwhile may be ready, too.
      if (Process* p = pick([](const Process& q) { return !q.is_ready && !q.is_closed; })) {
        Ready(*p, 1 + b % 3, b & 4);
      }
      return;
    case Op::kExit: {
      // Mostly a process that has a reason to end.
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
    default:
      return Require(false, "a step of step.h that TakeOfProcess does not take");
  }
}

void World::TakeOfUser(const Step& step) {
  switch (step.op) {
    case Op::kEndSession: {
      const int session = step.a % Model::kSessions;
      Tell("the user ends session ", kSessionIds[session]);
      model_.EndSession(session, now_);
      core_.EndSession(kSessionIds[session], now_);
      return Observe();
    }
    case Op::kRestart: {
      const bool refused =
          model_.closed || core_.supervisor().breaker().state() != BreakerState::kClosed;
      const bool joins = core_.supervisor().restart_state() == RestartState::kRunning;
      Tell("the user restarts the workers");
      Require(core_.Restart(now_).has_value() != refused,
              "a restart is wrongly refused or accepted");
      if (!refused && !joins) restart_up_to_ = last_process_;
      return Observe();
    }
    case Op::kResize:
      return Resize(1 + static_cast<int>(step.a % 4));
    case Op::kClose:
      Tell("the pool is closed");
      core_.Close();
      model_.closed = true;
      return Observe();
    case Op::kStop:
      return Stop();
    default:
      return Require(false, "a step of step.h that TakeOfUser does not take");
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
  const auto wanted = model_.RefusalOf(call, core_.supervisor().breaker().state(), now_);
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
    Require(wanted.has_value(), "a call is wrongly refused");
    Require(*wanted == id.error(), "a call is refused for the wrong reason");
    return Observe();
  }
  Tell("call ", *id, " is submitted", call.session < 0 ? "" : " in session ",
       call.session < 0 ? "" : kSessionIds[call.session]);
  Require(!wanted.has_value(), "a call is wrongly accepted");
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
  Require(core_.scheduler().IsInFlight(call.id), "a call in flight is not known as such");
  if (report == CallReport::kLost) {
    Call& lost = *model_.FindCall(call.id);
    lost.is_lost = true;
    lost.lost_until = std::min(call.deadline, now_ + Core::kExitReportLimit);
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

// A process has failed: works out the earliest next start of its seat.
void World::Failed(const Process& process) {
  if (process.id >= wanted_ || model_.stopped) return;
  const Core::Seat& known = core_.seats()[process.id];
  if (core_.workers()[known.worker].process != process.number) return;
  Seat& seat = seats_[process.id];
  seat.failures = process.has_served ? 0 : seat.failures + 1;
  milliseconds wait{0};
  if (seat.failures > 0) {
    wait = options_.restart.initial_backoff;
    for (int i = 1; i < seat.failures && wait < options_.restart.max_backoff; ++i) wait *= 2;
    wait = std::min(wait, options_.restart.max_backoff) / 2;
  }
  seat.not_before = now_ + (known.successor != kNoWorker ? milliseconds(0) : wait);
}

void World::Exit(ProcessNumber number, int signal) {
  Tell("process ", number, " ends");
  const Process process = *model_.Find(number);
  if (!process.is_asked) Failed(process);
  Gone(number, /*is_explained=*/true);
  core_.Exited(number, ExitStatus{.code = 0, .signal = signal}, now_);
  Observe();
  for (const Call& call : model_.calls) {
    Require(call.process != number || !call.is_lost,
            "a lost call outlives the exit that explains it");
  }
}

// Processes that were killed too long ago will be disowned when time passes.
void World::ExpectDisowned() {
  for (const Process& process : model_.processes) {
    const bool is_over = process.is_killed && process.killed_at + Core::kKillLimit <= now_;
    if (is_over && !process.is_asked) Failed(process);
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
  ExpectDisowned();
  core_.Tick(now_);
  Observe();
  const auto next = core_.NextWake();
  Require(!next || *next > now_, "a timer is late");
  for (const Call& call : model_.calls) {
    Require(call.process != 0 || call.expiry() > now_, "a queued call has not ended in time");
    Require(!call.is_lost || call.lost_until > now_, "a lost call waits for an exit for too long");
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
          "a change of size is wrongly refused or accepted");
  Observe();
}

void World::Stop() {
  Tell("the pool ends");
  model_.closed = model_.stopped = true;
  core_.Stop(now_);
  Observe();
  Require(model_.queued() == 0, "a call is queued though the pool ends");
}

// --- The end -----------------------------------------------------------------------------------

bool World::IsAtRest() const {
  if (!model_.calls.empty()) return false;
  if (model_.stopped) return core_.roster().AllGone();
  return core_.roster().AllReady() &&
         core_.supervisor().breaker().state() == BreakerState::kClosed &&
         core_.supervisor().restart_state() != RestartState::kRunning &&
         static_cast<int>(model_.processes.size()) == wanted_;
}

void World::ComeToRest() {
  Tell("no more faults");
  for (int round = 0; !IsAtRest(); ++round) {
    if (round == 1000) Violate("the pool does not come back to full strength");
    // Everything that may happen at once.
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
