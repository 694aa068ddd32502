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
#include <utility>

#include "snakepit/call.h"
#include "snakepit/error.h"
#include "snakepit/stats.h"
#include "snakepit/value.h"
#include "src/wire/pool_side/handshake.h"

namespace snakepit {

using SteadyTime = std::chrono::steady_clock::time_point;

// The state of the connection after a call.
enum class AfterCall {
  kUsable,
  kUnsent,     // usable; the worker has seen nothing of the call
  kUnusable,   // the worker is out of step: give it up
  kEnding,     // the worker is ending: it refused the call and did not execute it
  kOverran,    // it ignored a cancellation for longer than the cancel grace; its other calls go on
  kLost,       // the connection closed: the worker is ending, or has ended
  kAbandoned,  // the caller has its outcome and the worker was told, but may still be busy with the
               // call: `released` follows, within the cancel grace
};

struct CallRequest {
  std::string_view command;
  const Value* args = nullptr;  // a map, or null
  std::string_view session_id;  // empty: no session
  SteadyTime deadline;
  std::stop_token stop;  // a stop asked for ends the call with CANCELLED, at once
  // Runs once, on the io thread, after a call that ended with kAbandoned, and only then.
  // kUsable: the worker has ended the call. kOverran: it has not within the grace. kUnusable and
  // kLost: the connection became so meanwhile. It may run before Call or Stream has returned. It is
  // copied: the request and what it points to end with the call.
  std::function<void(AfterCall)> released;
};

template <typename T>
struct CallOutcome {
  Result<T> result;
  AfterCall after = AfterCall::kUsable;
};

// Takes up to agreement().capacity calls at a time, from any threads. No method may be called after
// the io_context that made the connection has gone.
class Connection {
 public:
  virtual ~Connection() = default;

  // The agreement with the worker. Never changes.
  virtual const Agreement& agreement() const = 0;

  // The calling thread does the I/O, unless another call's thread does it for several. If Call or
  // Stream throws (out of memory, say), the pool gives the worker up; `released` may then run or
  // not.
  virtual CallOutcome<Value> Call(const CallRequest& request) = 0;
  // Gives the number of chunks. `on_chunk` runs on the calling thread and throws nothing: the pool
  // turns an exception of its user's callback into false.
  virtual CallOutcome<int64_t> Stream(const CallRequest& request,
                                      const ChunkCallback& on_chunk) = 0;

  // `done` runs on the io thread, exactly once; what `request` points to must live until
  // then. To be called on that thread. If this throws, `done` does not run, and the pool gives the
  // worker up.
  virtual void CallAsync(const CallRequest& request,
                         std::function<void(CallOutcome<Value>)> done) = 0;

  // The same for a stream: `done` gets the number of chunks. `on_chunk` runs on the io thread, for
  // one chunk at a time and never after `done`, and throws nothing. The worker may be ahead of it
  // by no more than the credit of a stream. PROTOCOL.md 6.7.
  virtual void StreamAsync(const CallRequest& request, ChunkCallback on_chunk,
                           std::function<void(CallOutcome<int64_t>)> done) = 0;

  // Sends a health check, whatever calls are in flight. `done` runs once, on the io thread.
  // DEADLINE_EXCEEDED: nothing came from the worker in that time. UNAVAILABLE: it said that it is
  // too busy, or a chunk or the end of a call came instead. HANDLER_FAILED: it answered with an
  // error. UNIMPLEMENTED: a worker of version 1 on stdio has no health but `ping`. Also WORKER_LOST
  // and PROTOCOL_ERROR. To be called on that thread.
  virtual void CheckHealth(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) = 0;

  // Same, for a worker that has no call and gets none before `done`. One of version 1 on stdio is
  // asked by `ping`: PROTOCOL.md 2.5.4.
  virtual void CheckIdle(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) {
    CheckHealth(deadline, std::move(done));
  }

  // True if a worker that is well answers health checks while it has calls. One of version 1 may
  // not: on stdio it never does (PROTOCOL.md 2.3.2), and its gRPC server may have a single thread.
  bool checks_while_busy() const { return agreement().version >= 2; }

  // The session has ended: calls of that name from now on belong to a new one. They do not overtake
  // this on their way to the worker. A worker without sessions is sent nothing. Does not wait; from
  // any thread.
  virtual void EndSession(const std::string& session_id) = 0;

  // Asks an idle worker to end, if that is done by the connection.
  virtual void AskToEnd() = 0;

  // The process has ended, or is being killed: each call ends at once, with the reply that had
  // arrived before, or kLost.
  virtual void Abort() = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_CONNECTION_H_
