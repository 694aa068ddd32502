#include "src/core/recycler.h"

#include <algorithm>
#include <chrono>
#include <optional>

namespace snakepit {

using std::chrono::milliseconds;

// Draws 90-100% of the limit; 0 for 0.
int64_t Recycler::Draw(int64_t limit) {
  return limit - static_cast<int64_t>(random_.UpTo(limit / 10));
}

void Recycler::DrawLimits(WorkerIndex index) {
  roster_[index].recycling.limits = {.max_age = milliseconds(Draw(options_.max_age.count())),
                                     .max_calls = Draw(options_.max_calls),
                                     .max_rss_growth_bytes = Draw(options_.max_rss_growth_bytes),
                                     .warm_up_calls = options_.warm_up_calls,
                                     .max_idle = milliseconds(Draw(options_.max_idle.count()))};
}

void Recycler::TimerFired(WorkerIndex index, SteadyTime now) {
  Roster::Worker& worker = roster_[index];
  Roster::Worker::Recycling& recycling = worker.recycling;
  recycling.timer.reset();
  // Marked again if its latest replacement failed.
  if (recycling.due) return replacer_.MarkDue(index, *recycling.due);
  std::optional<SteadyTime> next;
  const auto wake_at = [&next](SteadyTime at) { next = next ? std::min(*next, at) : at; };
  const auto check = [&](milliseconds limit, SteadyTime since, ReplaceReason why) {
    if (limit.count() == 0) return;
    if (now - since < limit) return wake_at(since + limit);
    replacer_.MarkDue(index, why);
  };
  check(recycling.limits.max_age, worker.process.ready_since, ReplaceReason::kMaxAge);
  const WorkerView& view = roster_.view(index);
  if (view.calls_started > 0 && view.in_flight == 0) {
    check(recycling.limits.max_idle, view.idle_since, ReplaceReason::kMaxIdle);
  } else if (recycling.limits.max_idle.count() > 0) {
    wake_at(now + recycling.limits.max_idle);  // busy, or as good as new
  }
  if (!recycling.due) timers_.Set(&recycling.timer, TimerKey(TimerKind::kRecycle, index), next);
}

void Recycler::CallStarted(WorkerIndex index) {
  const int64_t limit = roster_[index].recycling.limits.max_calls;
  if (limit == 0 || roster_.view(index).calls_started < limit) return;
  replacer_.MarkDue(index, ReplaceReason::kMaxCalls);
}

bool Recycler::Measures(WorkerIndex index) const {
  const bool is_limited =
      roster_[index].recycling.limits.max_rss_growth_bytes > 0 || options_.max_total_rss_bytes > 0;
  return is_limited && roster_.board()[index].Serves();
}

void Recycler::MemoryMeasured(WorkerIndex index, int64_t rss_bytes) {
  const WorkerView& view = roster_.view(index);
  if (!view.Serves()) return;
  Roster::Worker::Recycling& recycling = roster_[index].recycling;
  recycling.is_measured = false;
  recycling.rss_bytes = rss_bytes;
  if (recycling.rss_baseline_bytes == 0) {
    // The baseline is the memory that the first calls leave, not what they use while they run.
    const int64_t calls_ended = view.calls_started - view.in_flight;
    if (calls_ended >= recycling.limits.warm_up_calls) recycling.rss_baseline_bytes = rss_bytes;
  } else if (recycling.limits.max_rss_growth_bytes > 0 &&
             rss_bytes - recycling.rss_baseline_bytes > recycling.limits.max_rss_growth_bytes) {
    replacer_.MarkDue(index, ReplaceReason::kRssGrowth);
  }
  CheckTotalMemory();
}

// Marks the largest worker as due when all have been measured and have too much together. Does
// nothing while one is due or being replaced: the figures will be others after that.
void Recycler::CheckTotalMemory() {
  if (options_.max_total_rss_bytes == 0 || replacer_.any_due() || replacer_.IsReplacing()) return;
  int64_t total = 0;
  int64_t most = -1;
  WorkerIndex largest = kNoWorker;
  const WorkerBoard& board = roster_.board();
  for (WorkerIndex index{0}; index != board.end_index(); ++index) {
    if (!board[index].Serves()) continue;
    const Roster::Worker& worker = roster_[index];
    if (worker.recycling.is_measured) return;
    total += worker.recycling.rss_bytes;
    // A worker that is not warm has nothing that a fresh one would not have.
    if (worker.recycling.rss_baseline_bytes == 0 || worker.is_surplus) continue;
    if (worker.recycling.rss_bytes <= most) continue;
    most = worker.recycling.rss_bytes;
    largest = index;
  }
  if (largest == kNoWorker || total <= options_.max_total_rss_bytes) return;
  replacer_.MarkDue(largest, ReplaceReason::kTotalRss);
}

}  // namespace snakepit
