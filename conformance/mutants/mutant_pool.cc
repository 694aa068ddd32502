#include "conformance/mutants/mutant_pool.h"

#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

namespace snakepit::conformance {
namespace {

constexpr std::string_view kGraceWithoutEnd = "grace-without-end";

// The real pool, handed on. Each mutant changes one thing.
class Wrapper : public PoolUnderTest {
 public:
  explicit Wrapper(std::unique_ptr<PoolUnderTest> pool) : pool_(std::move(pool)) {}

  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    return pool_->Execute(session_id, command, args, options);
  }
  Result<int64_t> ExecuteStream(std::string_view session_id, std::string_view command,
                                const Value& args, const ChunkCallback& on_chunk,
                                const CallOptions& options) override {
    return pool_->ExecuteStream(session_id, command, args, on_chunk, options);
  }
  void EndSession(std::string_view session_id) override { pool_->EndSession(session_id); }
  Result<WorkerHealth> CheckHealth(int worker, std::chrono::milliseconds timeout) override {
    return pool_->CheckHealth(worker, timeout);
  }
  PoolStats Stats() const override { return pool_->Stats(); }
  std::vector<WorkerInfo> Workers() const override { return pool_->Workers(); }

 protected:
  const std::unique_ptr<PoolUnderTest> pool_;
};

class IgnoresSessions : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    return pool_->Execute({}, command, args, options);
  }
};

// Binds a session to a worker when its first call has ended, so that concurrent first calls part.
class BindsSessionsLate : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    std::unique_lock lock(mutex_);
    const bool is_bound = bound_.contains(std::string(session_id));
    lock.unlock();
    auto result = pool_->Execute(is_bound ? session_id : "", command, args, options);
    lock.lock();
    // Not at the first: concurrent calls may well end one after the other.
    if (++ended_ >= 4) bound_.emplace(session_id);
    return result;
  }

 private:
  std::mutex mutex_;
  int ended_ = 0;
  std::set<std::string> bound_;
};

// Strict where it should be a hint: a session's call waits for its worker, and not for long.
class WaitsForSessionWorker : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    std::unique_lock lock(mutex_);
    const auto home = homes_.find(session_id);
    if (home != homes_.end()) {
      const WorkerInfo worker = pool_->Workers()[home->second];
      if (worker.calls_in_flight >= worker.capacity) {
        return Fail(ErrorCode::kQueueTimeout, "the session's worker is busy");
      }
    }
    lock.unlock();
    auto result = pool_->Execute(session_id, command, args, options);
    lock.lock();
    if (!session_id.empty()) homes_.emplace(session_id, options.info->worker_id);
    return result;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int, std::less<>> homes_;
};

// Shows the workers as they were at the start, whatever becomes of them.
class StaleFigures : public Wrapper {
 public:
  explicit StaleFigures(std::unique_ptr<PoolUnderTest> pool)
      : Wrapper(std::move(pool)), workers_(pool_->Workers()) {}
  std::vector<WorkerInfo> Workers() const override { return workers_; }

 private:
  const std::vector<WorkerInfo> workers_;
};

// Gives a worker up that has been replaced three times.
class GivesUpWorkers : public Wrapper {
 public:
  using Wrapper::Wrapper;
  std::vector<WorkerInfo> Workers() const override {
    std::vector<WorkerInfo> workers = pool_->Workers();
    for (WorkerInfo& worker : workers) {
      if (worker.restarts >= 3) worker.state = WorkerState::kGone;
    }
    return workers;
  }
};

class RepeatsLostCalls : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    auto result = pool_->Execute(session_id, command, args, options);
    if (result || result.error().code != ErrorCode::kWorkerLost) return result;
    return pool_->Execute(session_id, command, args, options);
  }
};

class KillsNeighbours : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    auto result = pool_->Execute(session_id, command, args, options);
    if (!result && result.error().code == ErrorCode::kWorkerLost) {
      for (const WorkerInfo& worker : pool_->Workers()) {
        if (worker.pid > 0 && worker.calls_in_flight > 0) kill(-worker.pid, SIGKILL);
      }
    }
    return result;
  }
};

class LostStreamsSucceed : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<int64_t> ExecuteStream(std::string_view session_id, std::string_view command,
                                const Value& args, const ChunkCallback& on_chunk,
                                const CallOptions& options) override {
    int64_t count = 0;
    const ChunkCallback counting = [&](const Chunk& chunk) {
      ++count;
      return on_chunk(chunk);
    };
    auto result = pool_->ExecuteStream(session_id, command, args, counting, options);
    if (!result && result.error().code == ErrorCode::kWorkerLost) return count;
    return result;
  }
};

class KillsCancelled : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    auto result = pool_->Execute(session_id, command, args, options);
    if (!result && result.error().code == ErrorCode::kCancelled && options.info->worker_pid > 0) {
      const pid_t pid = options.info->worker_pid;
      kill(-pid, SIGKILL);
      // Else the next call could still go to it, and be lost.
      while (pool_->Workers()[options.info->worker_id].pid == pid) std::this_thread::yield();
    }
    return result;
  }
};

// Hands two chunks on that come after the stop.
class ReadsOn : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<int64_t> ExecuteStream(std::string_view session_id, std::string_view command,
                                const Value& args, const ChunkCallback& on_chunk,
                                const CallOptions& options) override {
    CallOptions unstoppable = options;
    unstoppable.stop = {};
    int late = 0;
    const ChunkCallback reading_on = [&](const Chunk& chunk) {
      if (options.stop.stop_requested() && late++ == 2) return false;
      return on_chunk(chunk);
    };
    return pool_->ExecuteStream(session_id, command, args, reading_on, unstoppable);
  }
};

// Gives the next call what a call that was given up would have ended with.
class LateRepliesReachTheNext : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    auto result = pool_->Execute(session_id, command, args, options);
    if (command != "conf.echo") return result;
    if (late_ && result) return *std::exchange(late_, std::nullopt);
    if (!result && args.Find("value") != nullptr) late_ = *args.Find("value");
    return result;
  }

 private:
  std::optional<Value> late_;
};

// One call at a time, whatever the capacity.
class OneCallAWorker : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    std::unique_lock lock(turn_, std::defer_lock);
    while (!lock.try_lock_for(std::chrono::milliseconds(5))) {
      if (options.stop.stop_requested()) return Fail(ErrorCode::kCancelled, "it was given up");
    }
    return pool_->Execute(session_id, command, args, options);
  }

 private:
  std::timed_mutex turn_;
};

// Sends no args in place of such as cannot be sent.
class CutsDeepValues : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    auto result = pool_->Execute(session_id, command, args, options);
    if (result || result.error().code != ErrorCode::kInvalidArgument) return result;
    return pool_->Execute(session_id, command, Value(), options);
  }
};

// Changes the errors of one code.
template <ErrorCode code, void (*change)(Error& error)>
class ChangesErrors : public Wrapper {
 public:
  using Wrapper::Wrapper;
  Result<Value> Execute(std::string_view session_id, std::string_view command, const Value& args,
                        const CallOptions& options) override {
    auto result = pool_->Execute(session_id, command, args, options);
    if (!result && result.error().code == code) change(result.error());
    return result;
  }
};

void MakeCancelled(Error& error) { error.code = ErrorCode::kCancelled; }
void MakeInternal(Error& error) { error.code = ErrorCode::kInternal; }
void HideRun(Error& error) { error.may_have_run = false; }
void HideExit(Error& error) { error.exit.reset(); }
void SwapExit(Error& error) {
  if (error.exit) error.exit = ExitStatus{.code = error.exit->signal, .signal = error.exit->code};
}

using Wrap = std::unique_ptr<PoolUnderTest> (*)(std::unique_ptr<PoolUnderTest> pool);

template <typename T>
std::unique_ptr<PoolUnderTest> WrapIn(std::unique_ptr<PoolUnderTest> pool) {
  return std::make_unique<T>(std::move(pool));
}

const std::map<std::string_view, Wrap>& Wraps() {
  static const auto* const wraps = new std::map<std::string_view, Wrap>{
      {"ignores-sessions", WrapIn<IgnoresSessions>},
      {"binds-sessions-late", WrapIn<BindsSessionsLate>},
      {"waits-for-session-worker", WrapIn<WaitsForSessionWorker>},
      {"stale-figures", WrapIn<StaleFigures>},
      {"gives-up-workers", WrapIn<GivesUpWorkers>},
      {"repeats-lost-calls", WrapIn<RepeatsLostCalls>},
      {"kills-neighbours", WrapIn<KillsNeighbours>},
      {"lost-streams-succeed", WrapIn<LostStreamsSucceed>},
      {"lost-is-internal", WrapIn<ChangesErrors<ErrorCode::kWorkerLost, MakeInternal>>},
      {"lost-has-not-run", WrapIn<ChangesErrors<ErrorCode::kWorkerLost, HideRun>>},
      {"hides-exit-status", WrapIn<ChangesErrors<ErrorCode::kWorkerLost, HideExit>>},
      {"exit-code-is-a-signal", WrapIn<ChangesErrors<ErrorCode::kWorkerLost, SwapExit>>},
      {"kills-cancelled", WrapIn<KillsCancelled>},
      {"cancelled-has-not-run", WrapIn<ChangesErrors<ErrorCode::kCancelled, HideRun>>},
      {"deadline-is-cancelled", WrapIn<ChangesErrors<ErrorCode::kDeadlineExceeded, MakeCancelled>>},
      {"reads-on", WrapIn<ReadsOn>},
      {"late-replies-reach-the-next", WrapIn<LateRepliesReachTheNext>},
      {"one-call-a-worker", WrapIn<OneCallAWorker>},
      {"cuts-deep-values", WrapIn<CutsDeepValues>},
      // Nothing but its options: see MutantPoolStarter.
      {kGraceWithoutEnd, WrapIn<Wrapper>},
  };
  return *wraps;
}

}  // namespace

std::vector<std::string_view> PoolBugs() {
  std::vector<std::string_view> bugs;
  for (const auto& [bug, wrap] : Wraps()) bugs.push_back(bug);
  return bugs;
}

PoolStarter MutantPoolStarter(std::string_view bug) {
  const auto wrap = Wraps().find(bug);
  if (wrap == Wraps().end()) {
    std::fprintf(stderr, "there is no mutant pool %.*s\n", static_cast<int>(bug.size()),
                 bug.data());
    std::abort();
  }
  const bool is_patient = bug == kGraceWithoutEnd;
  return [wrap = wrap->second,
          is_patient](PoolOptions options) -> Result<std::unique_ptr<PoolUnderTest>> {
    if (is_patient) options.cancel_grace = std::chrono::hours(1);
    auto pool = StartRealPool(std::move(options));
    if (!pool) return pool;
    return wrap(std::move(*pool));
  };
}

}  // namespace snakepit::conformance
