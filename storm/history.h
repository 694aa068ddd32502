// The history of a storm: what was asked for, what was done to the workers, and what the workers
// say that they did. Plain values.
#ifndef SNAKEPIT_STORM_HISTORY_H_
#define SNAKEPIT_STORM_HISTORY_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/error.h"

namespace snakepit::storm {

// Microseconds of CLOCK_MONOTONIC, which is steady_clock's, and the same in all processes.
using Time = std::chrono::microseconds;

Time Now();

// The commands of storm_worker. The last three are faults.
enum class Command { kWork, kChunks, kRemember, kFlood, kGarbage, kCrash };
inline constexpr int kCommands = 6;
std::string_view CommandName(Command command);

// By which method of the pool.
enum class Method { kExecute, kStream, kSubmit };
std::string_view MethodName(Method method);

struct Call {
  int64_t id = 0;
  Command command = Command::kWork;
  Method method = Method::kExecute;
  std::string session;  // empty: none
  std::string detail;   // of the arguments, for people
  Time timeout{0};
  Time queue_timeout{0};
  Time work{0};  // how long the handler takes

  Time begin{0};
  Time end{0};                      // of the first outcome
  std::optional<Time> given_up_at;  // by its caller: a stop, or a chunk that was refused
  int outcomes = 0;
  std::optional<Error> error;  // nothing: a result came
  int worker = -1;             // as CallInfo says
  pid_t pid = 0;
  // What the result says, or the last chunk: the id and the pid of who served it, and of
  // `remember` the session's counter.
  int64_t reply_id = 0;
  int64_t reply_pid = 0;
  int64_t count = 0;
  // Of a stream: the numbers in its chunks, and the index that the pool gave each.
  std::vector<int64_t> numbers;
  std::vector<int64_t> indices;
  int64_t chunks_wanted = 0;
  int64_t chunks_reported = 0;  // by the result
};

// What was done to a worker from outside, or to all starts to come. What commands do to their
// workers (garbage, crash, flood) is in the calls.
enum class FaultKind { kKill, kTerminate, kStop, kSlowStart, kFailedStart, kRestart, kResize };
inline constexpr int kFaultKinds = 7;
std::string_view FaultKindName(FaultKind kind);

struct Fault {
  FaultKind kind = FaultKind::kKill;
  int worker = -1;  // -1: of all
  pid_t pid = 0;
  Time begin{0};
  Time end{0};  // of a stop, when it was continued; of a kill, its begin
};

// One line of the journal, or two: an end belongs to the latest begin of its id and pid.
struct Execution {
  int64_t id = 0;
  pid_t pid = 0;
  Time begin{0};
  std::optional<Time> end;
};

struct Start {
  pid_t pid = 0;
  Time time{0};
};

struct Journal {
  std::vector<Execution> executions;
  std::vector<Start> starts;
  std::vector<std::string> faults;  // lines that are none
};

Journal ParseJournal(std::string_view text);

struct History {
  std::vector<Call> calls;
  std::vector<Fault> faults;
  Journal journal;
  std::vector<pid_t> workers_at_end;  // when no call was in flight any more
};

// One line each, with times in seconds since `origin`.
std::string Describe(const Call& call, Time origin);
std::string Describe(const Fault& fault, Time origin);
std::string Describe(const Execution& execution, Time origin);

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_HISTORY_H_
