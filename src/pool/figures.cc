#include "src/pool/figures.h"

#include "src/pool/explain.h"

namespace snakepit {

PoolStats FiguresOf(const Core& core, Core::Time now) {
  PoolStats stats;
  stats.workers = static_cast<int>(core.seats().size());
  for (const Core::Seat& seat : core.seats()) {
    const Core::Worker& worker = core.workers()[seat.worker];
    const bool ready = worker.state == WorkerState::kReady;
    stats.workers_ready += ready;
    stats.usable_capacity += ready ? worker.capacity : 0;
    stats.wanted_capacity += worker.capacity;
  }
  for (const Core::Worker& worker : core.workers()) stats.calls_in_flight += worker.in_flight;
  stats.breaker = core.supervisor().breaker().state();
  stats.calls_queued = core.scheduler().queued();
  stats.bytes_queued = core.scheduler().queued_bytes();
  stats.oldest_queued = OldestQueued(core, now);
  stats.sessions = core.scheduler().sessions();
  stats.restarts = core.roster().counts().restarts;
  stats.boot_failures = core.roster().counts().boot_failures;
  stats.crashes = core.roster().counts().crashes;
  stats.recycled = core.roster().counts().recycled;
  stats.breaker_opened = core.supervisor().breaker().times_opened();
  return stats;
}

std::vector<std::pair<ProcessNumber, WorkerInfo>> WorkersOf(const Core& core) {
  std::vector<std::pair<ProcessNumber, WorkerInfo>> infos;
  const auto has_seat_id = [&core](const Core::Worker& worker) {
    return static_cast<size_t>(worker.id) < core.seats().size();
  };
  const auto add = [&](const Core::Worker& worker) {
    WorkerInfo info{.id = worker.id,
                    .state = worker.state,
                    .capacity = worker.capacity,
                    .calls_in_flight = worker.in_flight,
                    .calls_started = worker.calls_started};
    if (has_seat_id(worker)) info.restarts = core.seats()[worker.id].restarts;
    infos.emplace_back(worker.process, info);
  };
  for (const Core::Seat& seat : core.seats()) add(core.workers()[seat.worker]);
  for (const Core::Worker& worker : core.workers()) {
    const bool has_seat =
        has_seat_id(worker) && &core.workers()[core.seats()[worker.id].worker] == &worker;
    if (worker.state != WorkerState::kGone && !has_seat) add(worker);
  }
  return infos;
}

}  // namespace snakepit
