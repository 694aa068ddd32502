// Pool: worker processes in any language, kept alive, and calls, streams and sessions routed to
// them.
//
//   snakepit::PoolOptions options;
//   options.workers = 2;
//   options.adapter.argv = {"/usr/bin/python3", "greeter.py"};
//   auto pool = snakepit::Pool::Start(options);
//   if (!pool) return Report(pool.error());
//   auto greeting = pool->Execute("greet", snakepit::Value::Map{{"name", "Ada"}});
//   auto later = co_await pool->Submit("greet", {});
//
// Any thread may call any method at any time, but for moves and the destructor.
//
// A pool belongs to the process that started it. In a forked child every method fails at once with
// UNAVAILABLE, or returns nothing, and touches no descriptor; the destructor only forgets. A child
// may start a pool of its own; over gRPC only if its parent has not used gRPC, else Start fails
// with START_FAILED. A child that is forked inside a callback of a pool must end inside it, by
// _exit(2) or execve(2): it is aborted if it returns.
#ifndef SNAKEPIT_POOL_H_
#define SNAKEPIT_POOL_H_

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/call.h"
#include "snakepit/error.h"
#include "snakepit/options.h"
#include "snakepit/stats.h"
#include "snakepit/value.h"

namespace snakepit {

class AwaitableCall;

// A movable handle. A pool that was moved from may only be destroyed or assigned to.
class Pool {
 public:
  // Starts the workers, max_starting at a time, and returns when all are ready. The first that
  // fails to start fails the whole, at once: INVALID_ARGUMENT, START_FAILED or START_TIMEOUT, with
  // the reason (errno, exit code or signal, the end of its stderr); nothing is left running.
  static Result<Pool> Start(PoolOptions options);

  // Same as Shutdown(), except in a forked child. No other thread may be in a method of the pool.
  ~Pool();
  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;  // shuts down the pool that it replaces

  // Runs a command on one of the workers and returns its result. `args` is a map, or null for none.
  // The I/O happens on the calling thread. Every accepted call ends in exactly one outcome.
  Result<Value> Execute(std::string_view command, const Value& args,
                        const CallOptions& options = {});

  // Runs a command that answers in chunks, and returns their number. A command, or a worker, that
  // does not stream gives its one result as the only and final chunk. `on_chunk` runs on the
  // calling thread; an exception out of it gives the stream up and is thrown on.
  Result<int64_t> ExecuteStream(std::string_view command, const Value& args,
                                const ChunkCallback& on_chunk, const CallOptions& options = {});

  // Runs a command without waiting for it. `done` is called exactly once, from the pool's own
  // thread; a refusal comes by `done` too, after Shutdown on the caller's thread. `done` should not
  // block, and may call Submit, but no method that waits. An exception out of it is logged and
  // dropped. `options.info`, if any, must live until then.
  void Submit(std::string_view command, Value args, std::function<void(Result<Value>)> done,
              const CallOptions& options = {});

  // Same, for a coroutine: `Result<Value> result = co_await pool.Submit(command, args);`. The call
  // begins at co_await, and the coroutine goes on where `done` would have been called. The pool and
  // `options.info` must live until then.
  AwaitableCall Submit(std::string_view command, Value args, CallOptions options = {});

  // Same, as a future. A callback of the pool must not wait for it.
  std::future<Result<Value>> SubmitFuture(std::string_view command, Value args,
                                          const CallOptions& options = {});

  // Runs a command that answers in chunks, without waiting for it. `on_chunk` and then `done`, with
  // the number of chunks, are called from the pool's own thread, under the rules of `done` above.
  // An exception out of `on_chunk` is logged and gives the stream up: CANCELLED.
  void SubmitStream(std::string_view command, Value args, ChunkCallback on_chunk,
                    std::function<void(Result<int64_t>)> done, const CallOptions& options = {});

  // Ends a session: the pool forgets it, and its worker is told. A later call of that name, or one
  // that still waits, begins a new session.
  void EndSession(std::string_view session);

  // Asks a worker (0 to workers - 1) how it is, also while it is busy. INVALID_ARGUMENT: there is
  // no such worker. UNAVAILABLE: it is not ready, or too busy to answer. UNIMPLEMENTED: it has
  // protocol version 1 on stdio. HANDLER_FAILED: it answered with an error. DEADLINE_EXCEEDED,
  // PROTOCOL_ERROR, WORKER_LOST. Not to be called from a callback of the pool.
  Result<WorkerHealth> CheckHealth(int worker_id,
                                   std::chrono::milliseconds timeout = std::chrono::seconds(5));

  // Replaces every worker, one after the other: each one's successor is ready before it gets no
  // more calls, and it finishes the calls that it has; sessions are lost, or move, as with
  // recycling. Returns when all workers of before are gone.
  // START_FAILED, START_TIMEOUT: a successor did not start; no further worker is replaced, and the
  // others serve on. UNAVAILABLE: the breaker is open, or the pool takes no more calls.
  // DEADLINE_EXCEEDED: the time limit passed, and the replacing goes on. A second caller joins the
  // first. Not to be called from a callback of the pool.
  Result<void> Restart(std::chrono::milliseconds timeout = std::chrono::minutes(10));

  // Changes the number of workers, 1 to 1,000, and returns at once: missing ones start; surplus
  // ones, of the highest ids, finish the calls that they have and end. INVALID_ARGUMENT;
  // UNAVAILABLE when the pool takes no more calls.
  Result<void> Resize(int workers);

  // Figures of this moment. In a forked child: only last_start_error, which says so.
  PoolStats Stats() const;
  // The workers of the ids 0 to workers - 1, in that order; then workers that are being replaced or
  // are surplus, and successors that are not ready yet.
  std::vector<WorkerInfo> Workers() const;

  // Takes no more calls, and returns when all accepted ones have ended: true, or false when the
  // time limit passed first. The workers stay until Shutdown.
  bool Drain(std::chrono::milliseconds timeout);

  // Takes no more calls, fails the queued ones with CANCELLED, asks the workers to end (they may
  // finish the calls that they have), and kills those that take longer than stop_grace, with
  // everything they started. Returns when no process is left, or when the rest cannot be ended
  // because a debugger or the kernel holds them: at the latest 20 s after twice the stop_grace, if
  // no callback of the user is running then. Further calls of it do nothing. Not to be called from
  // a callback of the pool.
  void Shutdown();

 private:
  class Impl;
  friend struct PoolStarter;
  explicit Pool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The result of Pool::Submit without a callback: to be awaited once, at once, by one coroutine.
class [[nodiscard]] AwaitableCall {
 public:
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    // The coroutine, and with it this object, may be gone before Submit returns.
    const CallOptions options = std::move(options_);
    pool_.Submit(
        command_, std::move(args_),
        [this, caller](Result<Value> result) {
          result_ = std::move(result);
          caller.resume();
        },
        options);
  }
  Result<Value> await_resume() { return *std::move(result_); }

 private:
  friend class Pool;
  AwaitableCall(Pool& pool, std::string_view command, Value args, CallOptions options)
      : pool_(pool), command_(command), args_(std::move(args)), options_(std::move(options)) {}

  Pool& pool_;
  std::string command_;
  Value args_;
  CallOptions options_;
  std::optional<Result<Value>> result_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_H_
