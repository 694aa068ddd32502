// Connection: how calls get to a worker that is ready, and their results back. One interface, two
// kinds: stdio and gRPC. PROTOCOL.md 2, 4 and 6.
#ifndef SNAKEPIT_TRANSPORT_CONNECTION_H_
#define SNAKEPIT_TRANSPORT_CONNECTION_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "snakepit/call.h"
#include "snakepit/error.h"
#include "snakepit/stats.h"
#include "snakepit/value.h"
#include "src/wire/pool_side/handshake.h"

namespace snakepit {

using SteadyTime = std::chrono::steady_clock::time_point;

// What the connection is good for after a call.
enum class AfterCall {
  kUsable,
  kUnsent,     // likewise; the worker has seen nothing of the call
  kUnusable,   // the worker is out of step: give it up
  kEnding,     // the worker refused the call, which it did not execute, as it is ending
  kOverran,    // it ignored a cancellation for longer than the cancel grace; its other calls go on
  kLost,       // the connection closed: the worker is ending, or has
  kAbandoned,  // the caller has its outcome, and the worker was told, but may still be busy with
               // the call: `released` follows, within the cancel grace
};

struct CallRequest {
  std::string_view command;
  const Value* args = nullptr;  // a map, or null
  std::string_view session_id;  // empty: no session
  SteadyTime deadline;
  std::stop_token stop;  // a stop asked for ends the call with CANCELLED, at once
  // Runs once, on the io_context's thread, after the call has ended with kAbandoned (and only
  // then): kUsable when the worker is through with the call, kOverran when it is not within the
  // grace, kUnusable and kLost at once when the connection is so meanwhile. It may run before
  // Call or Stream has returned. It is kept by copy: the request and what it points to end with the
  // call.
  std::function<void(AfterCall)> released;
};

template <typename T>
struct CallOutcome {
  Result<T> result;
  AfterCall after = AfterCall::kUsable;
};

// As many calls at a time as agreement().capacity says, from any threads. No method may be called
// after the io_context that made the connection has gone.
class Connection {
 public:
  virtual ~Connection() = default;

  // What was agreed with the worker. Never changes.
  virtual const Agreement& agreement() const = 0;

  // The I/O happens on the calling thread, but where several calls share the connection. Where Call
  // or Stream throws (there is no memory, say), the pool gives the worker up; `released` may then
  // run, or not.
  virtual CallOutcome<Value> Call(const CallRequest& request) = 0;
  // The number of chunks. `on_chunk` runs on the calling thread and throws nothing: the pool makes
  // false of what its user's callback throws.
  virtual CallOutcome<int64_t> Stream(const CallRequest& request,
                                      const ChunkCallback& on_chunk) = 0;

  // `done` runs on the io_context's thread, exactly once; what `request` points to must live until
  // then. To be called on that thread. Where it throws, `done` does not run, and the pool gives the
  // worker up.
  virtual void CallAsync(const CallRequest& request,
                         std::function<void(CallOutcome<Value>)> done) = 0;

  // The same for a stream: `done` gets the number of chunks. `on_chunk` runs on the io_context's
  // thread, for one chunk at a time and never after `done`, and throws nothing. The worker may be
  // ahead of it by no more than the credit of a stream. PROTOCOL.md 6.7.
  virtual void StreamAsync(const CallRequest& request, ChunkCallback on_chunk,
                           std::function<void(CallOutcome<int64_t>)> done) = 0;

  // Asks the worker how it is, whatever calls are in flight. `done` runs once, on the io_context's
  // thread: DEADLINE_EXCEEDED when nothing came from the worker in that time; UNAVAILABLE when it
  // said that it is too busy, or a chunk or the end of a call came instead; HANDLER_FAILED when it
  // answered with an error; WORKER_LOST, PROTOCOL_ERROR; UNIMPLEMENTED for a worker of version 1 on
  // stdio, which has no health but `ping`. To be called on that thread.
  virtual void CheckHealth(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) = 0;

  // No more calls of the session will come. Nothing is sent to a worker without sessions. `told`
  // runs once, on the io_context's thread, when no later call can get to the worker before this: at
  // the latest after kEndSessionTimeout. To be called on that thread.
  static constexpr std::chrono::seconds kEndSessionTimeout{5};
  virtual void EndSession(const std::string& session_id, std::function<void()> told) = 0;

  // Lets an idle worker know that it is to end, as far as that goes by the connection.
  virtual void AskToEnd() = 0;

  // The process has ended, or is being killed: whoever is in a call gets what had arrived before,
  // or kLost, at once.
  virtual void Abort() = 0;
};

// The deadline of the call passed while the worker had it.
CallOutcome<Value> DeadlinePassed(const CallRequest& request);

// Of a call that ended without the connection being lost: whether the worker refused it as it is
// ending. PROTOCOL.md 1.4.8.
bool IsRefusedAsEnding(const Error& error, const CallRequest& request);

// The caller gave the call up before it was sent.
Error NotBegun();

// The caller gave the call up; its chunk callback gave the stream up.
Error GivenUp(const CallRequest& request);
Error StreamGivenUp();

// Of a worker that let the time for an answer to a health check pass, but that gave calls theirs.
inline constexpr char kBusyWithCalls[] =
    "the worker did not answer a health check in time, but its calls go on: it is busy";

// For an error of a call that the worker may have executed.
Error MayHaveRun(Error error);

// For a worker that does not stream: its one result is the final chunk.
CallOutcome<int64_t> AsStream(CallOutcome<Value> outcome, const ChunkCallback& on_chunk);

// Whole milliseconds from now to the deadline, at least 1.
int64_t MillisecondsUntil(SteadyTime deadline);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_CONNECTION_H_
