// Connection: how calls get to a worker that is ready, and their results back. One interface, two
// kinds: stdio and gRPC.
#ifndef SNAKEPIT_TRANSPORT_CONNECTION_H_
#define SNAKEPIT_TRANSPORT_CONNECTION_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include "snakepit/error.h"
#include "snakepit/pool.h"
#include "snakepit/value.h"

namespace snakepit {

using SteadyTime = std::chrono::steady_clock::time_point;

struct CallRequest {
  std::string_view command;
  const Value* args = nullptr;  // a map, or null
  std::string_view session_id;  // empty: no session
  SteadyTime deadline;
};

// What the connection is good for after a call.
enum class AfterCall {
  kUsable,
  kUnusable,  // the worker may still be busy with the call, or is out of step: give it up
  kLost,      // the connection closed: the worker is ending, or has
};

template <typename T>
struct CallOutcome {
  Result<T> result;
  AfterCall after = AfterCall::kUsable;
};

// One call at a time; Abort and AskToEnd from any thread, at any time. No method may be called
// after the io_context that made the connection has gone.
class Connection {
 public:
  virtual ~Connection() = default;

  // The I/O happens on the calling thread.
  virtual CallOutcome<Value> Call(const CallRequest& request) = 0;
  // The number of chunks. `on_chunk` runs on the calling thread.
  virtual CallOutcome<int64_t> Stream(const CallRequest& request,
                                      const ChunkCallback& on_chunk) = 0;

  // `done` runs on the io_context's thread, exactly once; what `request` points to must live until
  // then. To be called on that thread.
  virtual void CallAsync(const CallRequest& request,
                         std::function<void(CallOutcome<Value>)> done) = 0;

  // Lets an idle worker know that it is to end, as far as that goes by the connection.
  virtual void AskToEnd() = 0;

  // The process has ended, or is being killed: whoever is in a call gets what had arrived before,
  // or kLost, at once.
  virtual void Abort() = 0;
};

// The deadline of the call passed while the worker had it.
CallOutcome<Value> DeadlinePassed(const CallRequest& request);

// The chunk callback gave the stream up.
Error StreamGivenUp();

// For an error of a call that the worker may have executed.
Error MayHaveRun(Error error);

// For a worker that does not stream: its one result is the final chunk.
CallOutcome<int64_t> AsStream(CallOutcome<Value> outcome, const ChunkCallback& on_chunk);

// Whole milliseconds from now to the deadline, at least 1.
int64_t MillisecondsUntil(SteadyTime deadline);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_CONNECTION_H_
