// A core on a virtual clock, for tests.
#ifndef SNAKEPIT_CORE_TESTING_FIXTURE_H_
#define SNAKEPIT_CORE_TESTING_FIXTURE_H_

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "src/core/core.h"

namespace snakepit {

using std::chrono::milliseconds;

// Runs a core on a virtual clock and keeps its effects apart by kind.
class CoreTest : public testing::Test {
 protected:
  CoreTest() {
    options_.health.interval = milliseconds(0);
    options_.max_starting = 1000;
  }

  void Begin(int workers) { BeginOf(std::vector<int>(workers, 1)); }

  // Begins with a worker for each capacity.
  void BeginOf(const std::vector<int>& capacities) {
    options_.workers = static_cast<int>(capacities.size());
    core_.emplace(options_, kSeed);
    core_->Start(now_);
    Collect();
    for (const SpawnWorker& spawn : Take(&spawned_)) {
      Ready(spawn.process, capacities[spawn.worker_id]);
    }
    EXPECT_TRUE(core_->roster().AllReady());
  }

  void Ready(ProcessNumber process, int capacity = 1) {
    core_->Ready(process, capacity, /*checks_while_busy=*/true, now_);
    Collect();
  }

  CallId Submit(std::string_view session = "") {
    auto id = core_->Submit({.session_id = session,
                             .queue_deadline = now_ + options_.queue.timeout,
                             .deadline = now_ + options_.call_timeout},
                            now_);
    Collect();
    EXPECT_TRUE(id) << static_cast<int>(id.error());
    return id.value_or(0);
  }

  void End(CallId call, CallReport report = CallReport::kSucceeded) {
    core_->CallEnded(call, report, now_);
    Collect();
  }

  Refusal Refused(std::string_view session = "", size_t bytes = 0) {
    auto id = core_->Submit({.session_id = session,
                             .queue_deadline = now_ + options_.queue.timeout,
                             .deadline = now_ + options_.call_timeout,
                             .bytes = bytes},
                            now_);
    Collect();
    EXPECT_FALSE(id);
    return id ? Refusal() : id.error();
  }

  void Unusable(ProcessNumber process) {
    core_->Unusable(process, now_);
    Collect();
  }

  void HealthReported(ProcessNumber process, HealthReport report) {
    core_->HealthReported(process, report, now_);
    Collect();
  }

  void MemoryMeasured(ProcessNumber process, int64_t rss_bytes) {
    core_->MemoryMeasured(process, rss_bytes, now_);
    Collect();
  }

  bool Restart() {
    const bool accepted = core_->Restart(now_).has_value();
    Collect();
    return accepted;
  }

  void Resize(int workers) {
    EXPECT_TRUE(core_->Resize(workers, now_));
    Collect();
  }

  void Exit(ProcessNumber process, ExitStatus status = {.code = 0, .signal = 9}) {
    core_->Exited(process, status, now_);
    Collect();
  }

  void Cancel(CallId call) {
    core_->Cancel(call, now_);
    Collect();
  }

  void EndSession(std::string_view session) {
    core_->EndSession(session, now_);
    Collect();
  }

  void Pass(milliseconds time) {
    now_ += time;
    core_->Tick(now_);
    Collect();
  }

  // The id of the worker that the call was dispatched to; -1: it was not dispatched.
  int WorkerOf(CallId call) const {
    const DispatchCall* dispatch = DispatchOf(call);
    return dispatch == nullptr ? -1 : ids_.at(dispatch->process);
  }

  const DispatchCall* DispatchOf(CallId call) const {
    for (const DispatchCall& dispatch : dispatched_) {
      if (dispatch.call == call) return &dispatch;
    }
    return nullptr;
  }

  const EndCall* Ended(CallId call) const {
    for (const EndCall& end : ended_) {
      if (end.call == call) return &end;
    }
    return nullptr;
  }

  std::vector<int> InFlight() const {
    std::vector<int> in_flight;
    for (const Core::Worker& worker : core_->workers()) in_flight.push_back(worker.in_flight);
    return in_flight;
  }

  const Core::Worker& WorkerAt(int id) const { return core_->workers()[core_->seats()[id].worker]; }
  ProcessNumber ProcessOf(int id) const { return WorkerAt(id).process; }
  WorkerState StateOf(int id) const { return WorkerAt(id).state; }

  // Lets the longest wait before the next start pass.
  void PassBackOff() { Pass(options_.restart.initial_backoff); }

  template <typename T>
  static std::vector<T> Take(std::vector<T>* effects) {
    return std::exchange(*effects, {});
  }

  // The number of processes that have not ended.
  int Processes() const {
    int count = 0;
    for (const Core::Worker& worker : core_->workers()) {
      count += worker.state != WorkerState::kBackingOff && worker.state != WorkerState::kGone;
    }
    return count;
  }

  BreakerState breaker() const { return core_->supervisor().breaker().state(); }

  static constexpr uint64_t kSeed = 1;

  PoolOptions options_;
  std::optional<Core> core_;
  std::map<ProcessNumber, int> ids_;
  Core::Time now_{};
  std::vector<SpawnWorker> spawned_;
  std::vector<DispatchCall> dispatched_;
  std::vector<EndCall> ended_;
  std::vector<int> asked_to_end_;
  std::vector<int> killed_;
  std::vector<KillReason> kill_reasons_;  // why the workers in killed_ were
  std::vector<ProcessNumber> disowned_;
  std::vector<ReplaceWorker> replaced_;
  std::vector<int> start_timeouts_;
  std::vector<ProcessNumber> checked_;
  std::vector<ProcessNumber> measured_;
  std::vector<EndWorkerSession> ended_sessions_;

 private:
  void Collect() {
    std::vector<Effect> effects;
    core_->TakeEffects(&effects);
    for (const Effect& effect : effects) {
      if (auto* e = std::get_if<SpawnWorker>(&effect)) {
        spawned_.push_back(*e);
        ids_[e->process] = e->worker_id;
      }
      if (auto* e = std::get_if<DispatchCall>(&effect)) dispatched_.push_back(*e);
      if (auto* e = std::get_if<EndCall>(&effect)) ended_.push_back(*e);
      if (auto* e = std::get_if<AskWorkerToEnd>(&effect))
        asked_to_end_.push_back(ids_.at(e->process));
      if (auto* e = std::get_if<KillWorker>(&effect)) {
        killed_.push_back(ids_.at(e->process));
        kill_reasons_.push_back(e->why);
      }
      if (auto* e = std::get_if<DisownProcess>(&effect)) disowned_.push_back(e->process);
      if (auto* e = std::get_if<ReplaceWorker>(&effect)) replaced_.push_back(*e);
      if (auto* e = std::get_if<ReportStartTimeout>(&effect))
        start_timeouts_.push_back(ids_.at(e->process));
      if (auto* e = std::get_if<CheckWorker>(&effect)) checked_.push_back(e->process);
      if (auto* e = std::get_if<MeasureWorker>(&effect)) measured_.push_back(e->process);
      if (auto* e = std::get_if<EndWorkerSession>(&effect)) ended_sessions_.push_back(*e);
    }
  }
};

}  // namespace snakepit

#endif  // SNAKEPIT_CORE_TESTING_FIXTURE_H_
