// CallTable: all calls that the pool has accepted, and the one way that each of them goes: submit,
// await a worker, exchange, report, settle. A call of a thread does this on that thread; a
// submitted one on the io thread.
#ifndef SNAKEPIT_POOL_CALL_TABLE_H_
#define SNAKEPIT_POOL_CALL_TABLE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "snakepit/call.h"
#include "snakepit/options.h"
#include "src/pool/engine.h"
#include "src/pool/pending_call.h"
#include "src/pool/user_callbacks.h"
#include "src/pool/worker_process.h"

namespace snakepit {

class CallTable {
 public:
  struct Counts {
    int64_t accepted = 0;
    int64_t succeeded = 0;
    int64_t failed = 0;
    int64_t refused = 0;
  };

  // All outlive it.
  CallTable(Engine& engine, const PoolOptions& options, const UserCallbacks& callbacks)
      : engine_(engine), options_(options), callbacks_(callbacks) {}

  // Same as the methods of Pool.
  Result<Value> Execute(std::string_view command, const Value& args, const CallOptions& options);
  Result<int64_t> ExecuteStream(std::string_view command, const Value& args,
                                const ChunkCallback& on_chunk, const CallOptions& options);
  void Submit(std::string_view command, Value args, std::function<void(Result<Value>)> done,
              const CallOptions& options);
  void SubmitStream(std::string_view command, Value args, ChunkCallback on_chunk,
                    std::function<void(Result<int64_t>)> done, const CallOptions& options);

  // Effects of the core. With the lock.
  void Dispatch(const DispatchCall& effect, std::shared_ptr<WorkerProcess> process);
  void End(const EndCall& effect);
  void EndSession(const EndWorkerSession& effect, const WorkerProcess& process);

  // Both with the lock. No call is left whose caller has not got its outcome.
  bool empty() const;
  Counts counts() const;

 private:
  using SessionIds = std::multiset<std::string, std::less<>>;

  template <typename T, typename Exchange>
  Result<T> Run(ThreadCall& call, Exchange exchange);
  template <typename T>
  void Start(std::unique_ptr<TypedAsyncCall<T>> call, const CallOptions& options,
             std::chrono::milliseconds default_timeout);
  template <typename T>
  void Proceed(TypedAsyncCall<T>* call);
  template <typename T>
  void OnOutcome(TypedAsyncCall<T>* call, CallOutcome<T> outcome);
  template <typename T>
  void Finish(TypedAsyncCall<T>* call, CallOutcome<T> outcome);

  Result<void> Prepare(PendingCall& call, std::string_view command, const Value& args,
                       const CallOptions& options, std::chrono::milliseconds default_timeout) const;
  Result<void> Accept(PendingCall& call, size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  Result<void> SubmitAndAwait(ThreadCall& call);
  template <typename Predicate>
  void AwaitCore(EngineLock& lock, ThreadCall& call, SteadyTime limit, Predicate is_over)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  template <typename T>
  void Revise(const PendingCall& call, CallOutcome<T>* outcome) const;
  void Report(CallId id, AfterCall after, const Error* error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  template <typename T>
  void Settle(PendingCall& call, Result<T>* result, const Error* seen)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void Remove(const PendingCall& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void Forget(const PendingCall& call, AfterCall after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(engine_.mutex);
  void GiveUp(PendingCall& call);
  void OnReleased(CallId id, AfterCall after);
  void OnSessionEnded(SessionIds::iterator session);

  Engine& engine_;
  const PoolOptions& options_;
  const UserCallbacks& callbacks_;
  std::unordered_map<CallId, PendingCall*> calls_ ABSL_GUARDED_BY(engine_.mutex);
  Counts counts_ ABSL_GUARDED_BY(engine_.mutex);
  // Sessions that ended, and whose connections do not know yet.
  SessionIds ending_sessions_ ABSL_GUARDED_BY(engine_.mutex);
  // The call whose exchange begins, until it has an outcome. Only used on the io thread.
  const PendingCall* beginning_ = nullptr;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_CALL_TABLE_H_
