#include "conformance/mutants/mutant_pool.h"

#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

namespace snakepit::conformance {
namespace {

// The arguments of PoolUnderTest::Execute.
struct Call {
  std::string_view command;
  const Value& args;
  const CallOptions& options;

  std::string_view session() const {
    return options.session ? std::string_view(*options.session) : std::string_view();
  }
  Result<Value> On(PoolUnderTest& pool) const { return pool.Execute(command, args, options); }
  Result<Value> WithoutSessionOn(PoolUnderTest& pool) const {
    CallOptions changed = options;
    changed.session.reset();
    return pool.Execute(command, args, changed);
  }
};

// The arguments of PoolUnderTest::ExecuteStream.
struct Stream {
  std::string_view command;
  const Value& args;
  const ChunkCallback& on_chunk;
  const CallOptions& options;
};

// A bug: each hook that is set replaces a method of the real pool, which it gets.
struct Bug {
  std::function<void(PoolOptions& options)> change_options;
  std::function<Result<Value>(PoolUnderTest& pool, const Call& call)> execute;
  std::function<Result<int64_t>(PoolUnderTest& pool, const Stream& stream)> stream;
  std::function<std::vector<WorkerInfo>(PoolUnderTest& pool)> workers;
};

class BuggyPool : public PoolUnderTest {
 public:
  BuggyPool(std::unique_ptr<PoolUnderTest> pool, Bug bug)
      : pool_(std::move(pool)), bug_(std::move(bug)) {}

  Result<Value> Execute(std::string_view command, const Value& args,
                        const CallOptions& options) override {
    const Call call{command, args, options};
    return bug_.execute ? bug_.execute(*pool_, call) : call.On(*pool_);
  }
  Result<int64_t> ExecuteStream(std::string_view command, const Value& args,
                                const ChunkCallback& on_chunk,
                                const CallOptions& options) override {
    if (bug_.stream) return bug_.stream(*pool_, {command, args, on_chunk, options});
    return pool_->ExecuteStream(command, args, on_chunk, options);
  }
  void EndSession(std::string_view session) override { pool_->EndSession(session); }
  Result<WorkerHealth> CheckHealth(int worker, std::chrono::milliseconds timeout) override {
    return pool_->CheckHealth(worker, timeout);
  }
  PoolStats Stats() const override { return pool_->Stats(); }
  std::vector<WorkerInfo> Workers() const override {
    return bug_.workers ? bug_.workers(*pool_) : pool_->Workers();
  }

 private:
  const std::unique_ptr<PoolUnderTest> pool_;
  const Bug bug_;
};

Bug IgnoresSessions() {
  return {
      .execute = [](PoolUnderTest& pool, const Call& call) { return call.WithoutSessionOn(pool); }};
}

// Binds a session to a worker only when calls of it have ended, so that concurrent first calls
// part.
Bug BindsSessionsLate() {
  struct State {
    std::mutex mutex;
    int ended = 0;
    std::set<std::string, std::less<>> bound;
  };
  return {.execute = [state = std::make_shared<State>()](PoolUnderTest& pool, const Call& call) {
    std::unique_lock lock(state->mutex);
    const bool is_bound = state->bound.contains(call.session());
    lock.unlock();
    auto result = is_bound ? call.On(pool) : call.WithoutSessionOn(pool);
    lock.lock();
    // Not after the first call: concurrent calls may well end one after the other.
    if (++state->ended >= 4) state->bound.emplace(call.session());
    return result;
  }};
}

// Strict although affinity is a hint: a session's call waits for its worker, and times out.
Bug WaitsForSessionWorker() {
  struct State {
    std::mutex mutex;
    std::map<std::string, int, std::less<>> homes;
  };
  return {.execute = [state = std::make_shared<State>()](PoolUnderTest& pool,
                                                         const Call& call) -> Result<Value> {
    std::unique_lock lock(state->mutex);
    const auto home = state->homes.find(call.session());
    if (home != state->homes.end()) {
      const WorkerInfo worker = pool.Workers()[home->second];
      if (worker.calls_in_flight >= worker.capacity) {
        return Fail(ErrorCode::kQueueTimeout, "the session's worker is busy");
      }
    }
    lock.unlock();
    auto result = call.On(pool);
    lock.lock();
    if (call.options.session) state->homes.emplace(call.session(), call.options.info->worker_id);
    return result;
  }};
}

// Shows the workers as they were at the start, when the testbed first asks for them.
Bug StaleFigures() {
  struct State {
    std::once_flag once;
    std::vector<WorkerInfo> workers;
  };
  return {.workers = [state = std::make_shared<State>()](PoolUnderTest& pool) {
    std::call_once(state->once, [&] { state->workers = pool.Workers(); });
    return state->workers;
  }};
}

// Gives a worker up that has been replaced three times.
Bug GivesUpWorkers() {
  return {.workers = [](PoolUnderTest& pool) {
    std::vector<WorkerInfo> workers = pool.Workers();
    for (WorkerInfo& worker : workers) {
      if (worker.restarts >= 3) worker.state = WorkerState::kGone;
    }
    return workers;
  }};
}

Bug RepeatsLostCalls() {
  return {.execute = [](PoolUnderTest& pool, const Call& call) {
    auto result = call.On(pool);
    const bool is_lost = !result && result.error().code == ErrorCode::kWorkerLost;
    return is_lost ? call.On(pool) : result;
  }};
}

Bug KillsNeighbours() {
  return {.execute = [](PoolUnderTest& pool, const Call& call) {
    auto result = call.On(pool);
    if (!result && result.error().code == ErrorCode::kWorkerLost) {
      for (const WorkerInfo& worker : pool.Workers()) {
        if (worker.pid > 0 && worker.calls_in_flight > 0) kill(-worker.pid, SIGKILL);
      }
    }
    return result;
  }};
}

Bug LostStreamsSucceed() {
  return {.stream = [](PoolUnderTest& pool, const Stream& stream) -> Result<int64_t> {
    int64_t count = 0;
    const ChunkCallback counting = [&](const Chunk& chunk) {
      ++count;
      return stream.on_chunk(chunk);
    };
    auto result = pool.ExecuteStream(stream.command, stream.args, counting, stream.options);
    if (!result && result.error().code == ErrorCode::kWorkerLost) return count;
    return result;
  }};
}

Bug KillsCancelled() {
  return {.execute = [](PoolUnderTest& pool, const Call& call) {
    auto result = call.On(pool);
    const CallInfo& info = *call.options.info;
    if (!result && result.error().code == ErrorCode::kCancelled && info.worker_pid > 0) {
      const pid_t pid = info.worker_pid;
      kill(-pid, SIGKILL);
      // Waits, since the next call could still go to that worker and be lost.
      while (pool.Workers()[info.worker_id].pid == pid) std::this_thread::yield();
    }
    return result;
  }};
}

// Hands on two chunks that come after the stop.
Bug ReadsOn() {
  return {.stream = [](PoolUnderTest& pool, const Stream& stream) {
    CallOptions unstoppable = stream.options;
    unstoppable.stop = {};
    int late = 0;
    const ChunkCallback reading_on = [&](const Chunk& chunk) {
      if (stream.options.stop.stop_requested() && late++ == 2) return false;
      return stream.on_chunk(chunk);
    };
    return pool.ExecuteStream(stream.command, stream.args, reading_on, unstoppable);
  }};
}

// Gives the result of a call that was given up to the next call.
Bug LateRepliesReachTheNext() {
  return {.execute = [late = std::make_shared<std::optional<Value>>()](
                         PoolUnderTest& pool, const Call& call) -> Result<Value> {
    auto result = call.On(pool);
    if (call.command != "conf.echo") return result;
    if (*late && result) return *std::exchange(*late, std::nullopt);
    if (!result && call.args.Find("value") != nullptr) *late = *call.args.Find("value");
    return result;
  }};
}

// One call at a time, whatever the capacity.
Bug OneCallAWorker() {
  return {.execute = [turn = std::make_shared<std::timed_mutex>()](
                         PoolUnderTest& pool, const Call& call) -> Result<Value> {
    std::unique_lock lock(*turn, std::defer_lock);
    while (!lock.try_lock_for(std::chrono::milliseconds(5))) {
      if (call.options.stop.stop_requested()) return Fail(ErrorCode::kCancelled, "cancelled");
    }
    return call.On(pool);
  }};
}

// Sends no args if the given ones cannot be sent.
Bug CutsDeepValues() {
  return {.execute = [](PoolUnderTest& pool, const Call& call) {
    auto result = call.On(pool);
    if (result || result.error().code != ErrorCode::kInvalidArgument) return result;
    return pool.Execute(call.command, Value(), call.options);
  }};
}

// Changes the errors of one code.
Bug ChangesErrors(ErrorCode code, void (*change)(Error& error)) {
  return {.execute = [code, change](PoolUnderTest& pool, const Call& call) {
    auto result = call.On(pool);
    if (!result && result.error().code == code) change(result.error());
    return result;
  }};
}

Bug LostIsInternal() {
  return ChangesErrors(ErrorCode::kWorkerLost,
                       [](Error& error) { error.code = ErrorCode::kInternal; });
}

Bug LostHasNotRun() {
  return ChangesErrors(ErrorCode::kWorkerLost, [](Error& error) { error.may_have_run = false; });
}

Bug HidesExitStatus() {
  return ChangesErrors(ErrorCode::kWorkerLost, [](Error& error) { error.exit.reset(); });
}

Bug ExitCodeIsASignal() {
  return ChangesErrors(ErrorCode::kWorkerLost, [](Error& error) {
    if (error.exit) std::swap(error.exit->code, error.exit->signal);
  });
}

Bug CancelledHasNotRun() {
  return ChangesErrors(ErrorCode::kCancelled, [](Error& error) { error.may_have_run = false; });
}

Bug DeadlineIsCancelled() {
  return ChangesErrors(ErrorCode::kDeadlineExceeded,
                       [](Error& error) { error.code = ErrorCode::kCancelled; });
}

Bug GraceWithoutEnd() {
  return {
      .change_options = [](PoolOptions& options) { options.cancel_grace = std::chrono::hours(1); }};
}

// Made anew for each pool, since some have state.
using MakeBug = Bug (*)();

const std::map<std::string_view, MakeBug>& Bugs() {
  static const auto* const bugs = new std::map<std::string_view, MakeBug>{
      {"ignores-sessions", IgnoresSessions},
      {"binds-sessions-late", BindsSessionsLate},
      {"waits-for-session-worker", WaitsForSessionWorker},
      {"stale-figures", StaleFigures},
      {"gives-up-workers", GivesUpWorkers},
      {"repeats-lost-calls", RepeatsLostCalls},
      {"kills-neighbours", KillsNeighbours},
      {"lost-streams-succeed", LostStreamsSucceed},
      {"lost-is-internal", LostIsInternal},
      {"lost-has-not-run", LostHasNotRun},
      {"hides-exit-status", HidesExitStatus},
      {"exit-code-is-a-signal", ExitCodeIsASignal},
      {"kills-cancelled", KillsCancelled},
      {"cancelled-has-not-run", CancelledHasNotRun},
      {"deadline-is-cancelled", DeadlineIsCancelled},
      {"reads-on", ReadsOn},
      {"late-replies-reach-the-next", LateRepliesReachTheNext},
      {"one-call-a-worker", OneCallAWorker},
      {"cuts-deep-values", CutsDeepValues},
      {"grace-without-end", GraceWithoutEnd},
  };
  return *bugs;
}

}  // namespace

std::vector<std::string_view> PoolBugs() {
  std::vector<std::string_view> names;
  for (const auto& [name, make] : Bugs()) names.push_back(name);
  return names;
}

PoolStarter MutantPoolStarter(std::string_view name) {
  const auto found = Bugs().find(name);
  if (found == Bugs().end()) {
    std::fprintf(stderr, "there is no mutant pool %.*s\n", static_cast<int>(name.size()),
                 name.data());
    std::abort();
  }
  return [make = found->second](PoolOptions options) -> Result<std::unique_ptr<PoolUnderTest>> {
    Bug bug = make();
    if (bug.change_options) bug.change_options(options);
    auto pool = StartRealPool(std::move(options));
    if (!pool) return pool;
    return std::make_unique<BuggyPool>(std::move(*pool), std::move(bug));
  };
}

}  // namespace snakepit::conformance
