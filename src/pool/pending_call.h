// PendingCall: a call from its submission to its one outcome, whether a thread waits for it or a
// callback gets it.
#ifndef SNAKEPIT_POOL_PENDING_CALL_H_
#define SNAKEPIT_POOL_PENDING_CALL_H_

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "snakepit/call.h"
#include "src/base/mutex.h"
#include "src/core/core.h"
#include "src/pool/worker_process.h"
#include "src/transport/connection.h"

namespace snakepit {

// Gives a queued call up. It may run within its constructor, on any thread, and its destructor
// waits for it: neither may happen while the engine's mutex is held.
using StopCallback = std::stop_callback<std::function<void()>>;

struct PendingCall {
  virtual ~PendingCall() = default;
  // The call has a worker, or has ended. With the lock.
  virtual void Wake() = 0;

  CallRequest request;
  SteadyTime queue_deadline;
  CallInfo* info = nullptr;  // the caller's; may be null

  // Guarded by the engine's mutex. A call that has a worker and has not been reported keeps
  // `process`, so that the thread with the call may use it without the lock.
  CallId id = 0;                           // 0: not submitted yet
  std::shared_ptr<WorkerProcess> process;  // null: not dispatched yet
  bool session_moved = false;
  bool is_held = false;        // its connection is yet to know of the end of an earlier session
  std::optional<Error> ended;  // the core's outcome, without an answer of the worker
  bool released = false;       // it was abandoned, and CallRequest::released has run already

  bool is_settled() const { return ended || (process != nullptr && !is_held); }
};

// A call whose caller's thread waits for it and does its I/O.
struct ThreadCall final : PendingCall {
  void Wake() override { changed.notify_one(); }
  CondVar changed;
};

// A call that the io thread carries out. It owns what the request points to.
struct AsyncCall : PendingCall {
  void Wake() override {
    proceed();
    is_woken = true;
  }
  std::function<void()> proceed;  // posts the call's next step
  bool is_woken = false;          // a step was posted; guarded by the engine's mutex
  std::string command;
  Value args;
  std::optional<std::string> session;
  std::optional<StopCallback> on_stop;
};

template <typename T>
struct TypedAsyncCall final : AsyncCall {
  // Hands the request to the connection; the outcome comes on the io thread.
  std::function<void(Connection&, const CallRequest&, std::function<void(CallOutcome<T>)>)> begin;
  std::function<void(Result<T>)> done;
  std::optional<Error> lost;  // the transport's account of the loss
};

}  // namespace snakepit

#endif  // SNAKEPIT_POOL_PENDING_CALL_H_
