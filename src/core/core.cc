#include "src/core/core.h"

namespace snakepit {

Core::Core(const PoolOptions& options, uint64_t seed)
    : options_(options),
      scheduler_(options_, &board_, &timers_, &effects_),
      supervisor_(options_, seed, &board_, &timers_, &effects_) {}

void Core::Start(Time now) { supervisor_.Start(now); }

// --- Calls -------------------------------------------------------------------------------------

tl::expected<CallId, Refusal> Core::Submit(const CallSpec& spec, Time now) {
  if (closed_) return tl::unexpected(Refusal::kClosed);
  const auto accepted = scheduler_.Submit(spec, supervisor_.IsOut(), now);
  if (!accepted) return tl::unexpected(accepted.error());
  if (accepted->worker != kNoWorker) {
    supervisor_.CallStarted(accepted->worker);
    supervisor_.ReplaceDue(now);
  }
  return accepted->call;
}

void Core::Cancel(CallId call, Time now) {
  supervisor_.CallLeft(scheduler_.Cancel(call, now), now);
}

void Core::CallEnded(CallId call, CallReport report, Time now) {
  const WorkerIndex worker = scheduler_.CallEnded(call, report, now);
  if (report == CallReport::kLost) {
    if (worker != kNoWorker) ConnectionLost(board_[worker].process, now);
    return;
  }
  if (worker != kNoWorker) {
    supervisor_.CallEnded(worker, report, now);
    // The worker is ending, though the pool did not ask: the calls that wait for it wait in vain.
    if (report == CallReport::kRefused) scheduler_.ReleaseQueueOf(worker, now);
    supervisor_.CallLeft(worker, now);
  }
  Settle(now);
}

void Core::EndSession(std::string_view session_id, Time now) {
  const auto worker = scheduler_.EndSession(session_id, now);
  if (!worker) return;
  supervisor_.CallLeft(*worker, now);
  Settle(now);
}

// --- Processes ---------------------------------------------------------------------------------

void Core::Ready(ProcessNumber process, int capacity, bool checks_while_busy, Time now) {
  const WorkerIndex worker = roster().Find(process);
  if (worker == kNoWorker) return;
  supervisor_.Ready(worker, capacity, checks_while_busy, now);
  Settle(now);
}

void Core::Unusable(ProcessNumber process, Time now) {
  const WorkerIndex worker = roster().Find(process);
  if (worker == kNoWorker) return;
  supervisor_.Unusable(worker, now);
  Settle(now);
}

void Core::ConnectionLost(ProcessNumber process, Time now) {
  const WorkerIndex worker = roster().Find(process);
  if (worker == kNoWorker) return;
  supervisor_.ConnectionLost(worker, now);
  Settle(now);
}

void Core::Exited(ProcessNumber process, ExitStatus status, Time now) {
  const WorkerIndex worker = roster().Find(process);
  if (worker == kNoWorker) return;
  scheduler_.ProcessGone(worker, status, now);
  supervisor_.Exited(worker, now);
  Settle(now);
}

void Core::HealthReported(ProcessNumber process, HealthReport report, Time now) {
  const WorkerIndex worker = roster().Find(process);
  if (worker == kNoWorker) return;
  supervisor_.HealthReported(worker, report, now);
  Settle(now);
}

void Core::MemoryMeasured(ProcessNumber process, int64_t rss_bytes, Time now) {
  const WorkerIndex worker = roster().Find(process);
  if (worker == kNoWorker) return;
  supervisor_.MemoryMeasured(worker, rss_bytes);
  Settle(now);
}

// --- The user ----------------------------------------------------------------------------------

tl::expected<void, Refusal> Core::Restart(Time now) {
  auto begun = supervisor_.Restart(now);
  if (begun) Settle(now);
  return begun;
}

tl::expected<void, Refusal> Core::Resize(int workers, Time now) {
  if (closed_) return tl::unexpected(Refusal::kClosed);
  supervisor_.Resize(workers, now);
  Settle(now);
  return {};
}

void Core::Close() {
  closed_ = true;
  supervisor_.Close();
}

void Core::Stop(Time now) {
  if (stopping_) return;
  Close();
  stopping_ = true;
  scheduler_.Stop(now);
  supervisor_.Stop(now);
  Settle(now);
}

// --- Time --------------------------------------------------------------------------------------

void Core::Tick(Time now) {
  while (const auto timer = timers_.TakeDue(now)) {
    TimerFired(*timer, now);
    Settle(now);
  }
}

void Core::TimerFired(TimerKey timer, Time now) {
  switch (timer.kind()) {
    case TimerKind::kCall:
      return supervisor_.CallLeft(scheduler_.CallTimerFired(timer.number(), now), now);
    case TimerKind::kWorker:
      if (supervisor_.WorkerTimerFired(timer.worker(), now)) {
        scheduler_.ProcessGone(timer.worker(), std::nullopt, now);
      }
      return;
    case TimerKind::kRecycle:
      return supervisor_.RecycleTimerFired(timer.worker(), now);
    case TimerKind::kHealth:
      return supervisor_.HealthTimerFired(now);
    case TimerKind::kBreaker:
      return supervisor_.BreakerTimerFired(now);
    case TimerKind::kSession:
      return scheduler_.SessionTimerFired(now);
  }
}

void Core::Settle(Time now) {
  for (WorkerIndex worker : supervisor_.TakeChangedWithQueue()) {
    scheduler_.StateChanged(worker, now);
    supervisor_.CallLeft(worker, now);
  }
  supervisor_.StartProbe(now);
  if (supervisor_.IsOut()) scheduler_.EndCommonQueue(EndCall::Why::kBreakerOpen, now);
  while (const auto routed = scheduler_.RouteNext(now)) {
    if (routed->dispatched_to != kNoWorker) supervisor_.CallStarted(routed->dispatched_to);
    supervisor_.CallLeft(routed->left, now);
  }
  supervisor_.StartAndReplace(now);
}

void Core::TakeEffects(Effects* effects) {
  effects->clear();
  effects->swap(effects_);
}

}  // namespace snakepit
