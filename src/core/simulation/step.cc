#include "src/core/simulation/step.h"

#include "src/core/random.h"

namespace snakepit::simulation {
namespace {

using std::chrono::milliseconds;

struct Weight {
  Op op;
  uint32_t weight;
};

constexpr Weight kWeights[] = {
    {Op::kSubmit, 300}, {Op::kEndCall, 300},     {Op::kCancel, 25}, {Op::kEndSession, 10},
    {Op::kReady, 80},   {Op::kExit, 50},         {Op::kPass, 170},  {Op::kLoseConnection, 5},
    {Op::kGiveUp, 5},   {Op::kReportHealth, 40}, {Op::kStale, 8},   {Op::kReportMemory, 20},
    {Op::kRestart, 2},  {Op::kResize, 4},
};

constexpr uint32_t Sum() {
  uint32_t sum = 0;
  for (const Weight& weight : kWeights) sum += weight.weight;
  return sum;
}

}  // namespace

PoolOptions MakeOptions(uint64_t seed) {
  SplitMix random(seed);
  const auto one_of = [&random](auto... values) {
    const decltype((values + ...)) all[] = {values...};
    return all[random.Below(sizeof...(values))];
  };
  PoolOptions options;
  options.workers = 1 + static_cast<int>(random.Below(4));
  options.queue.max_calls = one_of(0, 1, 4, 8, 8);
  options.queue.max_bytes = one_of(60, 150, 1000);
  options.stop_grace = milliseconds(one_of(0, 20, 100));
  options.adapter.start_timeout = milliseconds(one_of(50, 500));
  options.health.interval = milliseconds(one_of(0, 40, 200));
  options.sessions.affinity = static_cast<Affinity>(random.Below(3));
  options.sessions.idle_timeout = milliseconds(one_of(30, 1000));
  options.sessions.max_count = one_of(1, 3, 100);
  options.restart.initial_backoff = milliseconds(one_of(1, 10));
  options.restart.max_backoff = milliseconds(one_of(10, 80));
  options.restart.burst = one_of(1, 3, 1000);
  options.restart.burst_window = milliseconds(one_of(20, 200));
  options.restart.sustained = one_of(5, 1000);
  options.restart.sustained_window = milliseconds(1000);
  options.restart.breaker_cooldown = milliseconds(one_of(10, 100));
  if (random.Below(2) == 0) {
    options.recycle.max_age = milliseconds(one_of(0, 100, 1000));
    options.recycle.max_calls = one_of(0, 5, 50);
    options.recycle.max_idle = milliseconds(one_of(0, 50));
    options.recycle.max_rss_growth_bytes = one_of(0, 1000);
    options.recycle.warm_up_calls = 2;
    options.recycle.max_total_rss_bytes = one_of(0, 4000);
  }
  options.max_starting = one_of(1, 2, 1000);
  return options;
}

std::vector<Step> MakeSteps(uint64_t seed, int count) {
  SplitMix random(~seed);
  std::vector<Step> steps;
  steps.reserve(count);
  for (int i = 0; i < count; ++i) {
    uint32_t left = random.Below(Sum());
    const Weight* weight = kWeights;
    while (left >= weight->weight) left -= weight++->weight;
    const uint64_t choice = random.Next();
    steps.push_back(
        {weight->op, static_cast<uint32_t>(choice >> 32) >> 1, static_cast<uint32_t>(choice) >> 1});
  }
  // Some pools are closed, or stopped, while much is going on.
  if (random.Below(8) == 0) steps[random.Below(count)].op = Op::kClose;
  if (random.Below(4) == 0) steps[count - 1 - random.Below(count / 8 + 1)].op = Op::kStop;
  return steps;
}

}  // namespace snakepit::simulation
