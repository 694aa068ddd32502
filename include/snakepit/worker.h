// Worker: commands written once, served to a pool over stdio and gRPC alike. PROTOCOL.md 2 to 6.
//
//   int main(int argc, char** argv) {
//     snakepit::Worker worker("greeter");
//     worker.Command("greet", [](const snakepit::Call& call) {
//       return "Hello, " + std::string(call.Text("name", "world")) + "!";
//     });
//     return worker.Main(argc, argv);
//   }
#ifndef SNAKEPIT_WORKER_H_
#define SNAKEPIT_WORKER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "snakepit/error.h"
#include "snakepit/value.h"

namespace snakepit {

class CallState;
class WorkerCore;

// Thrown by a handler: the arguments of the call cannot be right. The call fails with
// INVALID_ARGUMENT, and the message is what() alone.
class InvalidArgument : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// Thrown in a process that a handler has forked, by all that has to do with the caller: it is not
// the worker. PROTOCOL.md 1.3.6. Such a process may read its arguments, has to end by _exit, and is
// ended when it comes back from the handler; no reply is sent for it.
class ForkedProcess : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// What a handler sees of its call. Valid until the handler returns; usable from any thread.
class Call {
 public:
  explicit Call(CallState& state) : state_(state) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // The arguments: a map.
  const Value& args() const;

  // The argument of that name. Without `otherwise` it must be there; InvalidArgument is thrown when
  // it is not, or is of another kind.
  int64_t Integer(std::string_view name, std::optional<int64_t> otherwise = std::nullopt) const;
  std::string_view Text(std::string_view name,
                        std::optional<std::string_view> otherwise = std::nullopt) const;

  std::string_view command() const;
  // What the pool calls this worker. PROTOCOL.md 1.2.1.
  std::string_view worker_id() const;
  // What the pool calls this call: on stdio a decimal number. PROTOCOL.md 2.3.1 and 4.1.3.
  std::string_view request_id() const;
  // Empty: the call is in no session.
  std::string_view session_id() const;

  // What is left of the call's time, at least 0; nothing without a time limit. PROTOCOL.md 6.2.2.
  std::optional<std::chrono::milliseconds> time_left() const;

  // Whether the caller has given the call up. PROTOCOL.md 6.6. A handler that sees it may return
  // anything, which is dropped: the call ends with CANCELLED. Likewise with DEADLINE_EXCEEDED when
  // the time limit has passed.
  bool cancelled() const;
  // The same as a token: stopped when the caller gives the call up. A callback of it runs on a
  // thread that reads the connection while the handler runs, and must return soon: until then no
  // message of the pool may be read.
  std::stop_token stop_token() const;

  // Waits that long, and returns true; or returns false as soon as the caller gives the call up or
  // the time limit passes.
  bool Wait(std::chrono::nanoseconds duration) const;

  // Runs `use` with the state of the call's session, while no other call uses it: a value that is
  // null at first and is kept from call to call of the session on this worker. The worker keeps the
  // 10,000 sessions used last, each until it has not been used for an hour or the pool ends it.
  // PROTOCOL.md 6.5 and 6.9. Without a session: a null value that nobody keeps.
  void UseSession(const std::function<void(Value& state)>& use) const;

 private:
  CallState& state_;
};

// Where a streaming handler puts its chunks. Of the thread that runs the handler.
class ChunkSink {
 public:
  virtual ~ChunkSink() = default;

  // Sends a chunk. Waits until the caller's side has room for it (PROTOCOL.md 6.7), so no chunk is
  // held but this one. false says that no more chunks are wanted, and the handler is to return: the
  // caller has given the call up, its time limit has passed, or the chunk could not be sent, with
  // which the call has failed.
  [[nodiscard]] virtual bool Send(Value chunk) = 0;

  // Sends the last chunk, marked as such; none can follow. Without it a stream ends with a message
  // that holds no chunk when the handler returns.
  virtual void SendLast(Value chunk) = 0;
};

struct WorkerOptions {
  // How many handlers may run at a time, each on a thread of its own: 1 to 65536. Over 1, handlers
  // must be fit to run at the same time. A thread that has had nothing to do for some seconds may
  // end: with it go its thread_local variables, and children with PR_SET_PDEATHSIG.
  int capacity = 1;
  // The version that `info` and --version show.
  std::string version = "0.1.0";
};

// A set of commands, and a process that serves them. Every worker has `ping`, with which a pool
// finds it ready, and `info`; a command of the same name replaces them.
//
// Over stdio, descriptor 0 is /dev/null and 1 is stderr while handlers run, so that one that prints
// does no harm. One worker a process.
class Worker {
 public:
  // The outcome of a call: a Value, or what makes one; or an Error whose code is one of PROTOCOL.md
  // 5.2.1 (any other becomes HANDLER_FAILED). An exception is HANDLER_FAILED with its type and
  // message. A handler that may fail says so: `[](const Call& call) -> Result<Value> {…}`.
  using CommandHandler = std::function<Result<Value>(const Call&)>;
  using StreamHandler = std::function<Result<void>(const Call&, ChunkSink&)>;

  // name: what `ping` and `info` call the kind of worker. Takes SNAKEPIT_TOKEN out of the
  // environment (PROTOCOL.md 6.13), so it should be made before anything else is started.
  explicit Worker(std::string name, WorkerOptions options = {});
  ~Worker();

  // Adds a command with one result. Called as a stream, it gives the result as the only chunk. A
  // later command of the same name replaces it.
  void Command(std::string name, CommandHandler handler);

  // Adds a command that streams: `handler` takes (const Call&, ChunkSink&) and returns nothing or
  // Result<void>. Called for one result, it gives {"chunks": […]} with at most 10,000 of them.
  template <typename Handler>
  void Stream(std::string name, Handler handler) {
    if constexpr (std::is_void_v<std::invoke_result_t<Handler&, const Call&, ChunkSink&>>) {
      AddStream(std::move(name),
                [handler = std::move(handler)](const Call& call, ChunkSink& out) mutable {
                  handler(call, out);
                  return Result<void>();
                });
    } else {
      AddStream(std::move(name), std::move(handler));
    }
  }

  // Serves as the command line says (--help lists it) until the pool ends the worker: the exit
  // status. 0 after an orderly end, 1 when serving failed, 2 for a command line that cannot be
  // right. Does not return, but exits the process with that status, when a handler is still running
  // at the end of the time that it was given. Once a process, and not in one that a handler has
  // forked: there it says so on stderr, and returns 1.
  int Main(int argc, const char* const* argv);

 private:
  void AddStream(std::string name, StreamHandler handler);

  std::unique_ptr<WorkerCore> core_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_H_
