#include "storm/recorder.h"

#include <utility>

namespace snakepit::storm {
namespace {

using std::chrono::milliseconds;

std::chrono::steady_clock::time_point AsTimePoint(Time time) {
  return std::chrono::steady_clock::time_point(time);
}

}  // namespace

struct Recorder::AsyncCall {
  CallPlan plan;
  CallInfo info;
  std::shared_ptr<GiveUp> give_up;
  std::function<void()> ended;
  std::atomic<bool> has_ended{false};
};

Recorder::Recorder(Pool& pool) : pool_(pool), stopper_([this] { StopLoop(); }) {}

Recorder::~Recorder() {
  {
    std::lock_guard lock(stops_mutex_);
    closing_ = true;
  }
  stops_changed_.notify_one();
  stopper_.join();
}

std::optional<ErrorCode> Recorder::Run(CallPlan plan) {
  const Value args = Begin(plan);
  const auto give_up = PlanGiveUp(plan);
  CallInfo info;
  const CallOptions options = Options(plan, give_up.get(), &info);
  const std::string_view command = CommandName(plan.call.command);
  Result<Value> result;
  if (plan.call.method == Method::kStream) {
    result = RunStream(plan, args, options, give_up.get());
  } else {
    result = pool_.Execute(command, args, options);
  }
  End(std::move(plan.call), result, info, give_up.get());
  if (result) return std::nullopt;
  return result.error().code;
}

// The last chunk stands for the result.
Result<Value> Recorder::RunStream(CallPlan& plan, const Value& args, const CallOptions& options,
                                  GiveUp* give_up) {
  Call& call = plan.call;
  Value last;
  const auto on_chunk = [&](const Chunk& chunk) {
    call.numbers.push_back(chunk.value.IntegerAt("number"));
    call.indices.push_back(chunk.index);
    last = chunk.value;
    if (chunk.index != plan.refused_chunk) return true;
    give_up->at = Now().count();
    return false;
  };
  const std::string_view command = CommandName(call.command);
  const Result<int64_t> chunks = pool_.ExecuteStream(command, args, on_chunk, options);
  if (!chunks) return Fail(chunks.error());
  call.chunks_reported = *chunks;
  return last;
}

void Recorder::Submit(CallPlan plan, std::function<void()> ended) {
  Value args = Begin(plan);
  auto call = std::make_shared<AsyncCall>();
  call->plan = std::move(plan);
  call->ended = std::move(ended);
  call->give_up = PlanGiveUp(call->plan);
  const CallOptions options = Options(call->plan, call->give_up.get(), &call->info);
  pool_.Submit(
      CommandName(call->plan.call.command), std::move(args),
      [this, call](Result<Value> result) {
        if (call->has_ended.exchange(true)) return EndAgain(call->plan.call.id);
        End(call->plan.call, result, call->info, call->give_up.get());
        if (call->ended) call->ended();
      },
      options);
}

Value Recorder::Begin(CallPlan& plan) {
  plan.call.id = ++last_id_;
  Value::Map args = plan.args;
  args["id"] = plan.call.id;
  plan.call.begin = Now();
  std::lock_guard lock(mutex_);
  begun_.emplace(plan.call.id, plan.call);
  ++tally_.calls;
  return args;
}

std::shared_ptr<Recorder::GiveUp> Recorder::PlanGiveUp(const CallPlan& plan) {
  if (!plan.stop_after && plan.refused_chunk < 0) return nullptr;
  auto give_up = std::make_shared<GiveUp>();
  if (plan.stop_after) {
    std::lock_guard lock(stops_mutex_);
    stops_.emplace(plan.call.begin + *plan.stop_after, give_up);
    stops_changed_.notify_one();
  }
  return give_up;
}

CallOptions Recorder::Options(const CallPlan& plan, const GiveUp* give_up, CallInfo* info) const {
  CallOptions options;
  if (!plan.call.session.empty()) options.session = plan.call.session;
  options.timeout = std::chrono::duration_cast<milliseconds>(plan.call.timeout);
  options.queue_timeout = std::chrono::duration_cast<milliseconds>(plan.call.queue_timeout);
  if (give_up != nullptr) options.stop = give_up->source.get_token();
  options.info = info;
  return options;
}

void Recorder::End(Call call, const Result<Value>& result, const CallInfo& info,
                   const GiveUp* give_up) {
  call.end = Now();
  call.outcomes = 1;
  call.worker = info.worker_id;
  call.pid = info.worker_pid;
  if (give_up != nullptr && give_up->at > 0) call.given_up_at = Time(give_up->at);
  if (result) {
    call.reply_id = result->IntegerAt("id");
    call.reply_pid = result->IntegerAt("pid");
    call.count = result->IntegerAt("count");
  } else {
    call.error = result.error();
    call.error->stderr_tail.clear();  // floods
  }
  std::lock_guard lock(mutex_);
  if (result) {
    ++tally_.succeeded;
  } else {
    ++tally_.errors[static_cast<size_t>(call.error->code)];
  }
  begun_.erase(call.id);
  ended_.push_back(std::move(call));
  if (begun_.empty()) changed_.notify_all();
}

void Recorder::EndAgain(int64_t id) {
  std::lock_guard lock(mutex_);
  ended_again_.push_back(id);
}

bool Recorder::AwaitOutcomes(milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [this] { return begun_.empty(); });
}

std::vector<Call> Recorder::Take() {
  std::lock_guard lock(mutex_);
  std::vector<Call> calls;
  calls.swap(ended_);
  for (auto& [id, call] : begun_) calls.push_back(std::move(call));
  begun_.clear();
  for (const int64_t id : std::exchange(ended_again_, {})) {
    bool found = false;
    for (Call& call : calls) {
      if (call.id != id) continue;
      ++call.outcomes;
      found = true;
    }
    // One that was handed over before.
    if (!found) calls.push_back({.id = id, .outcomes = 2});
  }
  return calls;
}

Tally Recorder::tally() const {
  std::lock_guard lock(mutex_);
  return tally_;
}

void Recorder::StopLoop() {
  std::unique_lock lock(stops_mutex_);
  for (;;) {
    if (stops_.empty()) {
      if (closing_) return;
      stops_changed_.wait(lock);
      continue;
    }
    const auto next = stops_.begin();
    if (const Time time = next->first; time > Now()) {
      stops_changed_.wait_until(lock, AsTimePoint(time));
      continue;
    }
    const std::shared_ptr<GiveUp> give_up = std::move(next->second);
    stops_.erase(next);
    lock.unlock();
    give_up->Now();
    lock.lock();
  }
}

}  // namespace snakepit::storm
