// Pool::Impl: the core's effects carried out on real processes.
//
// One mutex guards the core and the table of calls; it is held for short steps only and never
// during I/O. A thread that calls Execute does its own I/O between two such steps. One background
// thread runs the io_context: processes, stderr, timers, handshakes and asynchronous calls.
#ifndef SNAKEPIT_POOL_POOL_IMPL_H_
#define SNAKEPIT_POOL_POOL_IMPL_H_

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/home_process.h"
#include "src/core/core.h"
#include "src/pool/runtime_directory.h"
#include "src/process/guardian.h"
#include "src/process/output_reader.h"
#include "src/transport/connection.h"
#include "src/transport/launch.h"

namespace snakepit {

// What has been thrown and is being handled: "std::bad_alloc".
std::string DescribeException();

// "200 ms", in whole ones.
inline std::string Milliseconds(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) +
         " ms";
}

class Pool::Impl {
 public:
  // `options` are valid and whole (pool/options.h).
  explicit Impl(PoolOptions options);
  ~Impl() { Shutdown(); }

  // False in a process that was forked from the pool's: there no other method may be called, nor
  // the destructor. The locks may be held for ever, and the descriptors are the parent's.
  bool IsHere() const { return home_.IsHere(); }
  // For such a process: UNAVAILABLE, and why.
  Error ForkedError() const;

  // As Pool::Start.
  Result<void> Start();

  Result<Value> Execute(std::string_view command, const Value& args, const CallOptions& options);
  Result<int64_t> ExecuteStream(std::string_view command, const Value& args,
                                const ChunkCallback& on_chunk, const CallOptions& options);
  void Submit(std::string_view command, Value args, std::function<void(Result<Value>)> done,
              const CallOptions& options);
  void EndSession(std::string_view session_id);
  Result<WorkerHealth> CheckHealth(int worker_id, std::chrono::milliseconds timeout);
  PoolStats Stats() const;
  std::vector<WorkerInfo> Workers() const;
  Result<void> Restart(std::chrono::milliseconds timeout);
  Result<void> Resize(int workers);
  bool Drain(std::chrono::milliseconds timeout);
  void Shutdown();

 private:
  struct AsyncCall;

  // A thread in Restart.
  struct RestartWaiter {
    RestartState state = RestartState::kRunning;
    int64_t start_failures = 0;  // before it
  };

  // A process of a worker, from the decision to start it until nobody asks for it any more.
  struct Process {
    int worker_id = 0;
    ProcessNumber number = 0;
    // Launch::secret(), from before it is spawned: it is hidden in all texts of the worker.
    std::string secret;
    // Guarded by mutex_. The connection is set once, before the core is told that it is ready.
    pid_t pid = 0;  // 0: not started yet
    std::shared_ptr<Connection> connection;
    SteadyTime started_at;
    std::chrono::microseconds start_time{0};
    int protocol_version = 1;
    bool streams = false;  // as in WorkerInfo
    bool sessions = false;
    bool is_spawned = false;  // the guardian has been told to start it
    int owed_signal = 0;      // what it is to be told next; 0: nothing
    std::string fault;        // what a call, or a health check, found wrong with it
    std::string given_up;     // why the pool killed it; empty: it did not
    std::string stderr_tail;  // once it has ended
    // Only used on the io_context's thread.
    std::unique_ptr<Launch> launch;
    std::shared_ptr<OutputReader> stderr_reader;
    std::optional<Error> closed_in_start;  // it closed its connection before it was ready
    bool start_failure_reported = false;
  };

  // Gives a queued call up. May run within its constructor, on any thread, and its destructor waits
  // for it: neither may happen while mutex_ is held.
  using StopCallback = std::stop_callback<std::function<void()>>;

  // A call that the core has accepted and whose caller has not got its outcome. Guarded by mutex_.
  struct PendingCall {
    CallId id = 0;                     // 0: not submitted yet
    SteadyTime expiry;                 // until when it may be queued
    std::condition_variable changed;   // for the thread that waits for it
    AsyncCall* async = nullptr;        // null: a thread waits
    std::shared_ptr<Process> process;  // null: not dispatched yet
    bool session_moved = false;
    std::optional<Error> ended;  // by the core, without an answer of the worker
    bool released = false;       // it was abandoned, and CallRequest::released has run already
  };

  struct AsyncCall {
    PendingCall pending;
    std::string command;
    Value args;
    CallOptions options;  // `request` has a view of its session
    CallRequest request;
    std::function<void(Result<Value>)> done;
    CallInfo* info = nullptr;
    std::optional<Error> lost;  // what the transport saw of the loss
    std::optional<StopCallback> on_stop;
  };

  // Calls. Pool::Impl in calls.cc.
  template <typename T>
  Result<T> Run(CallRequest& request, const CallOptions& options,
                const std::function<CallOutcome<T>(Connection&)>& exchange);
  template <typename T>
  Result<T> RunSubmitted(std::unique_lock<std::mutex>& lock, PendingCall& call,
                         CallRequest& request, const CallOptions& options,
                         const std::function<CallOutcome<T>(Connection&)>& exchange);
  void ForgetCall(std::unique_lock<std::mutex>& lock, const PendingCall& call);
  Result<CallRequest> MakeRequest(std::string_view command, const Value& args,
                                  const CallOptions& options,
                                  std::chrono::milliseconds default_timeout) const;
  Result<void> SubmitLocked(const CallRequest& request, size_t bytes, const CallOptions& options,
                            PendingCall* pending);
  template <typename Predicate>
  void AwaitCore(std::unique_lock<std::mutex>& lock, PendingCall& call, SteadyTime limit,
                 Predicate is_over);
  void AwaitWorker(std::unique_lock<std::mutex>& lock, PendingCall& call, std::stop_token stop);
  void CancelQueued(const PendingCall& call);
  // `error`, if not null: the outcome of the call.
  void ReportLocked(CallId id, AfterCall after, const Error* error);
  template <typename T>
  void ReviseFailure(const CallRequest& request, const Process& process,
                     CallOutcome<T>* outcome) const;
  void OnReleased(CallId id, AfterCall after);
  void StartAsync(AsyncCall* call);
  void OnAsyncOutcome(AsyncCall* call, CallOutcome<Value> outcome);
  void EndAsync(AsyncCall* call, Result<Value> result);
  void Tell(const std::function<void(Result<Value>)>& done, Result<Value> result) const;
  static CallInfo InfoOf(const PendingCall& call);
  Error RefusalLocked(Refusal refusal) const;
  Error EndedLocked(const EndCall& end, const PendingCall& call) const;
  std::string QueueStateLocked() const;
  std::string BreakerTextLocked() const;
  std::string LastStartErrorLocked() const;

  // The pool's own thread.
  void RunIo();
  void OnFault();

  // Effects.
  void ApplyLocked();
  void Apply(const SpawnWorker& effect);
  void Apply(const DispatchCall& effect);
  void Apply(const EndCall& effect);
  void Apply(const AskWorkerToEnd& effect);
  void Apply(const KillWorker& effect);
  void Apply(const DisownProcess& effect);
  void Apply(const ReplaceWorker& effect);
  void Apply(const ReportStartTimeout& effect);
  void Apply(const CheckWorker& effect);
  void Apply(const MeasureWorker& effect);
  void Apply(const EndWorkerSession& effect);
  void TellRestartWaitersLocked();
  void UpdateWakeLocked();
  std::chrono::milliseconds OldestQueuedLocked() const;
  void ArmTimer();

  // Workers, in processes.cc: all on the io_context's thread.
  void StartProcess(Process& process);
  void OnSpawned(ProcessNumber number, pid_t pid);
  void OnSpawnFailed(ProcessNumber number, Error error);
  void OnConnected(Process& process, Result<std::shared_ptr<Connection>> connection);
  void OnExited(ProcessNumber number, ExitStatus status, const ResourceUse& use);
  static std::string TailOf(const Process& process);
  static std::string ReasonText(const ExitStatus& status, const std::string& given_up);
  void SignalLocked(Process& process, int signal);
  std::string KillText(const Process& process, KillReason why) const;
  void Disown(Process& process);
  void EndProcessLocked(ProcessNumber number, ExitStatus status);
  void GiveUpGuardian(std::string_view why);
  void AskToEnd(Process& process);
  void ReportStartFailure(Process& process, Error error);
  void Check(std::shared_ptr<Process> process);
  void OnChecked(Process& process, const Result<WorkerHealth>& health);
  void Measure(Process& process);
  std::shared_ptr<Process> Find(ProcessNumber number) const;
  std::shared_ptr<Process> FindLocked(ProcessNumber number) const;
  WorkerState StateLocked(const Process& process) const;
  Result<void> EnsureGuardian();
  Result<void> EnsureRuntimeDirectory(bool has_guardian);

  // From any thread.
  void KillAll();
  // After a callback of the user: in a process that it forked, and that came back out of it,
  // nothing may go on.
  void EndIfForked() const {
    if (!IsHere()) [[unlikely]] {
      EndForked();
    }
  }
  [[noreturn]] static void EndForked();
  void LogBreakerLocked();
  void LogNotInherited();
  void Log(LogLevel level, std::string_view text) const;
  void LogLine(int worker_id, std::string_view line) const;
  void Emit(LogLevel level, std::string_view text) const;
  std::string Prefix() const;
  std::string NameOf(const Process& process) const;

  const HomeProcess home_;
  const PoolOptions options_;
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::steady_timer timer_;
  RuntimeDirectory runtime_directory_;
  std::once_flag shut_down_;
  std::thread thread_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // a worker or a call has come to an end, or a start failed
  Core core_;
  std::shared_ptr<Guardian> guardian_;
  std::unordered_map<ProcessNumber, std::shared_ptr<Process>> processes_;  // that have not ended
  std::unordered_map<CallId, PendingCall*> calls_;
  std::vector<std::shared_ptr<Process>> held_starts_;  // until a lost guardian's end is known
  std::vector<Effect> effects_;
  bool has_effects_left_ = false;  // in effects_, as one of them threw
  std::optional<Core::Time> armed_;
  bool started_ = false;              // Start has returned the pool
  bool thread_ends_ = false;          // nothing that is posted from now on will run
  std::optional<Error> start_error_;  // the first
  std::optional<Error> last_start_error_;
  int64_t start_failures_ = 0;
  std::vector<RestartWaiter*> restart_waiters_;  // of the restart that is under way
  BreakerState logged_breaker_ = BreakerState::kClosed;
  int64_t accepted_ = 0;
  int64_t succeeded_ = 0;
  int64_t failed_ = 0;
  int64_t refused_ = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_POOL_IMPL_H_
