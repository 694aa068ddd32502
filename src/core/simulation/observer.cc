#include "src/core/simulation/observer.h"

#include <algorithm>
#include <variant>

namespace snakepit::simulation {
namespace {

constexpr const char* kWhyNames[] = {"queue timeout", "deadline",     "cancelled",  "shutdown",
                                     "breaker open",  "session lost", "worker lost"};

}  // namespace

Observer::Observer(const PoolOptions& options, uint64_t seed, std::string* story)
    : options_(options),
      core_(options_, seed),
      model_(options_),
      story_(story),
      wanted_(options.workers) {
  model_.calls.reserve(64);
}

void Observer::TellText(const std::string& text) {
  *story_ += "  " + std::to_string(now_.time_since_epoch() / std::chrono::milliseconds(1)) +
             " ms: " + text + "\n";
}

void Observer::Gone(ProcessNumber number, bool is_explained) {
  for (Call& call : model_.calls) {
    if (call.process != number) continue;
    call.process_ended = true;
    call.is_explained = is_explained;
  }
  std::erase_if(model_.processes, [number](const Process& p) { return p.number == number; });
  if (ended_.size() >= 16) ended_.erase(ended_.begin());
  ended_.push_back(number);
}

// --- Effects -----------------------------------------------------------------------------------

Process& Observer::Living(ProcessNumber number) {
  Process* process = model_.Find(number);
  Require(process != nullptr, "an effect concerns a process that is not there");
  return *process;
}

void Observer::On(const SpawnWorker& effect) {
  Tell("-> process ", effect.process, " of worker ", effect.worker_id, " starts");
  Require(!model_.stopped, "a process is started though the pool ends");
  Require(effect.process > last_process_, "the number of a process is not new");
  Require(effect.worker_id >= 0 && effect.worker_id < wanted_,
          "a process of a worker that is not wanted");
  const BreakerState breaker = core_.supervisor().breaker().state();
  // Disowning a process is the only cause that may open it later in the same step.
  const bool may_have_opened = std::any_of(effects_.begin(), effects_.end(), [](const Effect& e) {
    return std::holds_alternative<DisownProcess>(e);
  });
  Require(breaker != BreakerState::kOpen || may_have_opened,
          "a process is started though the breaker is open");
  const Core::Seat& known = core_.seats()[effect.worker_id];
  const bool is_successor =
      known.successor != kNoWorker && core_.workers()[known.successor].process == effect.process;
  if (breaker == BreakerState::kHalfOpen) {
    Require(model_.Find(probe_) == nullptr, "the half-open breaker has two probes");
    probe_ = effect.process;
  } else if (!is_successor) {
    Require(now_ >= seats_[effect.worker_id].not_before,
            "a worker starts before its backoff is over");
  }
  last_process_ = effect.process;
  model_.processes.push_back({.number = effect.process, .id = effect.worker_id});
}

void Observer::On(const DispatchCall& effect) {
  Tell("-> call ", effect.call, " goes to process ", effect.process);
  const Model::Dispatch wanted = model_.NextDispatch(now_);
  Process& process = Living(effect.process);
  Call* const call = model_.FindCall(effect.call);
  Require(call != nullptr, "a call that has ended is dispatched");
  Require(call->process == 0, "a call is dispatched twice");
  Require(process.is_ready && !process.is_asked && !process.is_killed && !process.is_closed,
          "a call goes to a worker that is not ready");
  Require(process.HasSpareCapacity(), "a worker gets more calls than it takes");
  Require(wanted.call == effect.call, "a call is dispatched out of its turn");
  Require(wanted.process == effect.process, "a call goes to the wrong worker");
  Require(wanted.session_moved == effect.session_moved, "the move of a session is not reported");
  model_.Dispatched(wanted);
}

void Observer::On(const snakepit::EndCall& effect) {
  using Why = snakepit::EndCall::Why;
  Tell("-> call ", effect.call, " is ended: ", kWhyNames[static_cast<int>(effect.why)]);
  Call* const found = model_.FindCall(effect.call);
  Require(found != nullptr, "a call ends twice");
  const Call call = *found;
  if (effect.why == Why::kWorkerLost) {
    Require(call.is_lost, "a call that its transport has not lost ends as lost");
    Require(call.process_ended || now_ >= call.lost_until,
            "a lost call ends before the exit that explains it");
    Require(effect.exit.has_value() == call.is_explained, "a loss has the wrong exit status");
  } else {
    Require(call.process == 0, "a call in flight ends as a queued one");
  }
  switch (effect.why) {
    case Why::kQueueTimeout:
      Require(now_ >= call.queue_deadline, "a queue timeout comes too early");
      break;
    case Why::kDeadlineExceeded:
      Require(now_ >= call.deadline, "a deadline passes too early");
      break;
    case Why::kCancelled:
      Require(cancelled_ == call.id, "a call that was not given up is cancelled");
      cancelled_ = 0;
      break;
    case Why::kShutdown:
      Require(model_.stopped, "a call ends by a shutdown without one");
      break;
    case Why::kBreakerOpen:
      Require(core_.supervisor().breaker().state() != BreakerState::kClosed && !model_.AnyServes(),
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

void Observer::On(const AskWorkerToEnd& effect) {
  Tell("-> process ", effect.process, " is asked to end");
  Process& process = Living(effect.process);
  Require(!process.is_asked && !process.is_killed, "a process is asked to end twice");
  Require(process.in_flight == 0, "a process that has a call is asked to end");
  process.is_asked = true;
}

void Observer::On(const KillWorker& effect) {
  Tell("-> process ", effect.process, " is killed");
  Process& process = Living(effect.process);
  Require(!process.is_killed, "a process is killed twice");
  process.is_killed = true;
  process.killed_at = now_;
}

void Observer::On(const DisownProcess& effect) {
  Tell("-> process ", effect.process, " is disowned");
  const Process& process = Living(effect.process);
  Require(process.is_killed && now_ >= process.killed_at + Core::kKillLimit,
          "a process is disowned too early");
  Gone(effect.process, /*is_explained=*/false);
}

void Observer::On(const ReplaceWorker& effect) {
  Tell("-> process ", effect.process, " has to be replaced: ", static_cast<int>(effect.why));
}

void Observer::On(const ReportStartTimeout& effect) {
  Require(!Living(effect.process).is_asked, "a process that was asked to end has not started");
}

void Observer::On(const CheckWorker& effect) {
  Tell("-> process ", effect.process, " is asked for its health");
  Process& process = Living(effect.process);
  Require(!process.is_checked, "a worker is checked twice at a time");
  Require(process.checks_while_busy || process.in_flight == 0, "a busy worker is checked in vain");
  process.is_checked = true;
}

void Observer::On(const MeasureWorker& effect) { Living(effect.process).is_measured = true; }

void Observer::On(const EndWorkerSession& effect) {
  Require(Living(effect.process).is_ready, "a worker that is not ready is told of a session");
}

// --- Invariants --------------------------------------------------------------------------------

void Observer::Observe() {
  ++events_;
  core_.TakeEffects(&effects_);
  // Processes come and go first: the other effects are checked against them.
  const auto is_of_processes = [](const Effect& effect) {
    return std::holds_alternative<SpawnWorker>(effect) ||
           std::holds_alternative<DisownProcess>(effect);
  };
  const auto carry_out = [this](const Effect& effect) {
    std::visit([this](const auto& e) { On(e); }, effect);
  };
  for (const Effect& effect : effects_) {
    if (is_of_processes(effect)) carry_out(effect);
  }
  LookAtWorkers();
  for (const Effect& effect : effects_) {
    if (!is_of_processes(effect)) carry_out(effect);
  }
  LookAtCalls();
}

void Observer::LookAtWorkers() {
  const WorkerBoard& workers = core_.workers();
  const BreakerState breaker = core_.supervisor().breaker().state();
  if (breaker != breaker_) {
    Tell("-> the breaker is ", BreakerStateName(breaker));
    if (breaker != BreakerState::kHalfOpen) probe_ = 0;
    breaker_ = breaker;
  }
  LookAtSeats();
  size_t living = 0;
  const auto starting = std::count_if(workers.begin(), workers.end(), [](const auto& worker) {
    return worker.state == WorkerState::kStarting;
  });
  Require(starting <= options_.max_starting, "more workers start at a time than may");
  const bool may_start = breaker == BreakerState::kClosed && starting < options_.max_starting;
  WorkerIndex index{0};
  for (const WorkerView& worker : workers) {
    if (worker.state != WorkerState::kGone) LookAtWorker(index, worker, may_start);
    living += worker.state != WorkerState::kGone && worker.state != WorkerState::kBackingOff;
    ++index;
  }
  Require(living == model_.processes.size(), "a process is forgotten");
  if (core_.supervisor().restart_state() == RestartState::kDone) {
    for (const Process& process : model_.processes) {
      Require(process.number > restart_up_to_, "a restart ends before the last old process");
    }
  }
}

void Observer::LookAtSeats() {
  const WorkerBoard& workers = core_.workers();
  Require(static_cast<int>(core_.seats().size()) == wanted_,
          "the pool does not have the wanted size");
  int successors = 0;
  for (int id = 0; id < wanted_; ++id) {
    const Core::Seat& seat = core_.seats()[id];
    const WorkerView& worker = workers[seat.worker];
    Require(worker.id == id, "a worker has another id than its seat");
    Require(model_.stopped ||
                (!core_.roster()[seat.worker].is_surplus && worker.state != WorkerState::kGone),
            "a wanted worker neither lives, starts nor backs off");
    if (seat.successor != kNoWorker) {
      ++successors;
      Require(workers[seat.successor].id == id, "a successor has another id than its seat");
    }
  }
  Require(successors <= 1, "two workers are replaced at a time");
}

void Observer::LookAtWorker(WorkerIndex w, const WorkerView& worker, bool may_start) {
  const Roster::Worker& own = core_.roster()[w];
  const bool has_seat = worker.id < wanted_ && (core_.seats()[worker.id].worker == w ||
                                                core_.seats()[worker.id].successor == w);
  Require(has_seat || own.is_surplus || model_.stopped, "a worker that nobody wants lives on");
  if (worker.state == WorkerState::kBackingOff) {
    Require(own.timer || !may_start, "a worker backs off for ever");
    return;
  }
  Process& process = Living(worker.process);
  Require(!own.process.was_ready || process.capacity == worker.capacity, "a capacity is wrong");
  if (process.Serves() && worker.state == WorkerState::kDraining && !model_.stopped &&
      worker.id < wanted_ && overran_ != worker.process) {
    const WorkerView& successor = core_.workers()[core_.seats()[worker.id].worker];
    Require(successor.state == WorkerState::kReady,
            "a worker drains before its successor is ready");
  }
  process.state = worker.state;
  process.order = w;
  const bool waits = worker.state == WorkerState::kStarting ||
                     worker.state == WorkerState::kStopping ||
                     worker.state == WorkerState::kKilled ||
                     (worker.state == WorkerState::kDraining && model_.stopped);
  Require(!waits || own.timer, "a worker may stay in a state for ever");
  Require(worker.state != WorkerState::kKilled || process.is_killed ||
              std::any_of(effects_.begin(), effects_.end(),
                          [](const Effect& e) { return std::holds_alternative<KillWorker>(e); }),
          "a worker that was not killed counts as killed");
}

void Observer::LookAtCalls() {
  const Model::Dispatch next = model_.NextDispatch(now_);
  Require(next.call == 0, "a call waits though a worker has room for it");
  const bool is_out = breaker_ != BreakerState::kClosed && !model_.AnyServes();
  for (Call& call : model_.calls) {
    call.is_fresh = false;
    if (call.process != 0) continue;
    Require(!model_.IsOfLostSession(call), "a call waits for a session that is lost");
    Require(!is_out || model_.IsToFinish(call), "a call waits though the breaker is open");
  }
  Require(core_.scheduler().calls() == model_.calls.size(), "the number of calls is wrong");
  Require(core_.scheduler().queued() == model_.queued(), "the number of queued calls is wrong");
  Require(core_.scheduler().queued_bytes() == model_.queued_bytes(),
          "the bytes of queued calls are wrong");
  for (const Process& process : model_.processes) {
    Require(process.in_flight == core_.workers()[process.order].in_flight,
            "the number of calls in flight is wrong");
  }
  const auto [least, most] = model_.SessionsBetween(now_);
  Require(core_.scheduler().sessions() >= least && core_.scheduler().sessions() <= most,
          "the number of sessions is wrong");
}

}  // namespace snakepit::simulation
