// Worker: commands written once and served to a pool over stdio and gRPC alike. PROTOCOL.md 2 to 6.
//
//   int main(int argc, char** argv) {
//     snakepit::Worker worker("greeter");
//     worker.Command("greet", [](const snakepit::Call& call) {
//       return "Hello, " + call.Text("name", "world") + "!";
//     });
//     return worker.Main(argc, argv);
//   }
#ifndef SNAKEPIT_WORKER_H_
#define SNAKEPIT_WORKER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
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
class CommandService;

// Thrown by a handler whose arguments are wrong. The call fails with INVALID_ARGUMENT, and the
// message is what() alone.
class InvalidArgument : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// Thrown in a process that a handler has forked, by each function that concerns the caller: such a
// process is not the worker. PROTOCOL.md 1.3.6. It may read its arguments, and it has to end by
// _exit. If it returns from the handler, the SDK ends it and sends no reply for it.
class ForkedProcess : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// The range of a numeric argument, both ends included. A NaN is in no range.
struct IntegerRange {
  int64_t min = INT64_MIN;
  int64_t max = INT64_MAX;
};
struct NumberRange {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

// A handler's view of its call. Valid until the handler returns; usable from any thread.
class Call {
 public:
  explicit Call(CallState& state) : state_(state) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // The arguments: a map.
  const Value& args() const;

  // The argument of that name, or `otherwise` when there is none. They throw InvalidArgument, which
  // says what is wrong, when the argument is of another kind or out of its range, and when it is
  // missing and there is no `otherwise`: `"count" must be an integer from 1 to 10, not "three"`,
  // `"count" is missing`. An argument that is null is there, and of another kind.
  //
  //   const int64_t count = call.Integer("count", 5, {.min = 1, .max = 10});
  //   const double seconds = call.Number("interval", {}, {.min = 0});  // must be there
  int64_t Integer(std::string_view name, std::optional<int64_t> otherwise = std::nullopt,
                  IntegerRange range = {}) const;
  // An integer or a double.
  double Number(std::string_view name, std::optional<double> otherwise = std::nullopt,
                NumberRange range = {}) const;
  bool Bool(std::string_view name, std::optional<bool> otherwise = std::nullopt) const;
  std::string Text(std::string_view name,
                   std::optional<std::string_view> otherwise = std::nullopt) const;

  // The same for large arguments, without a copy. They have no `otherwise`: args().Find(name) says
  // whether the argument is there.
  const std::string& Bytes(std::string_view name) const;
  const Value::Array& Array(std::string_view name) const;
  const Value::Map& Map(std::string_view name) const;

  std::string_view command() const;
  // The pool's name for this worker. PROTOCOL.md 1.2.1.
  std::string_view worker_id() const;
  // The pool's name for this call: on stdio a decimal number. PROTOCOL.md 2.3.1 and 4.1.3.
  std::string_view request_id() const;
  // Empty: the call is in no session.
  std::string_view session_id() const;

  // Time left for the call, at least 0; nothing without a time limit. PROTOCOL.md 6.2.2.
  std::optional<std::chrono::milliseconds> time_left() const;

  // True once the caller has given the call up. PROTOCOL.md 6.6. The handler may then return
  // anything: the result is dropped, and the call ends with CANCELLED. Likewise with
  // DEADLINE_EXCEEDED once the time limit has passed.
  bool cancelled() const;
  // The same as a token, which is stopped when the caller gives the call up. Its callbacks run on a
  // thread that reads the connection while the handler runs, and must return soon: until then the
  // worker may read no message.
  std::stop_token stop_token() const;

  // Waits that long, and returns true. Returns false as soon as the caller gives the call up or the
  // time limit passes.
  template <typename Rep, typename Period>
  bool Wait(std::chrono::duration<Rep, Period> duration) const {
    // A longer one may not fit into nanoseconds.
    constexpr std::chrono::hours kLongest(365 * 24);
    if (duration <= duration.zero()) return WaitFor(std::chrono::nanoseconds(0));
    if (!(duration < kLongest)) return WaitFor(kLongest);
    return WaitFor(std::chrono::duration_cast<std::chrono::nanoseconds>(duration));
  }

  // Runs `use` with the state of the call's session while no other call uses it. The state is a
  // value that is null at first. The worker keeps it from call to call of the session: for the
  // 10,000 sessions used last, each until it has not been used for an hour or the pool ends it.
  // PROTOCOL.md 6.5 and 6.9. Without a session `use` gets a null value, which is dropped.
  void UseSession(const std::function<void(Value& state)>& use) const;

 private:
  bool WaitFor(std::chrono::nanoseconds duration) const;

  CallState& state_;
};

// Takes the chunks of a streaming handler. For the thread that runs the handler only.
class ChunkSink {
 public:
  virtual ~ChunkSink() = default;

  // Sends a chunk. Waits until the caller's side has room for it (PROTOCOL.md 6.7), so the worker
  // holds no other chunk. Returns false when the handler is to return, because no more chunks are
  // wanted: the caller has given the call up, its time limit has passed, or the chunk could not be
  // sent. In the last case the call has failed.
  [[nodiscard]] virtual bool Send(Value chunk) = 0;

  // Sends the last chunk, marked as such; none can follow. If the handler returns without it, the
  // stream ends with a message that holds no chunk.
  virtual void SendLast(Value chunk) = 0;
};

struct WorkerOptions {
  // Most handlers that run at a time, each on a thread of its own: 1 to 65536; Main refuses others.
  // Over 1, handlers must be safe to run at the same time. A thread that has been idle for some
  // seconds may end. Its thread_local variables end with it, and so do children with
  // PR_SET_PDEATHSIG.
  int capacity = 1;
  // The version that `info` and --version show.
  std::string version = "0.1.0";
};

// A set of commands, and a process that serves them. Every worker has `info`, and `ping`, by which
// a pool finds it ready; a command of the same name replaces them.
//
// Over stdio, descriptor 0 is /dev/null and 1 is stderr while handlers run, so a handler that
// prints does no harm. A process may have one worker.
class Worker {
 public:
  // Returns the outcome of a call: a Value, anything that converts to one, or an Error whose code
  // is one of PROTOCOL.md 5.2.1 (any other becomes HANDLER_FAILED). An exception is HANDLER_FAILED
  // with its type and message. The signature shows that a handler may fail:
  // `[](const Call& call) -> Result<Value> {…}`.
  using CommandHandler = std::function<Result<Value>(const Call&)>;
  using StreamHandler = std::function<Result<void>(const Call&, ChunkSink&)>;

  // `name` is the kind of worker that `ping` and `info` show. Takes SNAKEPIT_TOKEN out of the
  // environment (PROTOCOL.md 6.13), so make the Worker before you start anything else.
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

  // Says in the answers to health checks whether this worker can take calls; true at first. A pool
  // gives a worker that says false no calls, and replaces it when it goes on to say so. Over gRPC a
  // worker is not ready before it says true (PROTOCOL.md 4.2.6, 6.10.5). From any thread, at any
  // time.
  void set_healthy(bool healthy);

  // Serves until the pool ends the worker, by the options of the command line (--help lists them).
  // Returns the exit status: 0 after an orderly end, 1 when serving failed, 2 for an invalid
  // command line or capacity. Exits the process with that status, and does not return, if a handler
  // still runs when its time is over. Call it once in a process. In a process that a handler has
  // forked it says so on stderr, and returns 1.
  int Main(int argc, const char* const* argv);

 private:
  void AddStream(std::string name, StreamHandler handler);

  std::unique_ptr<CommandService> commands_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_H_
