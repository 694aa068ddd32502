// The history of a storm: the calls, the faults, and the journal of the workers. Plain values.
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

// Microseconds of CLOCK_MONOTONIC, the clock of steady_clock, which all processes share.
using Time = std::chrono::microseconds;

Time Now();

// The commands of storm_worker. The last three are faults.
enum class Command { kWork, kChunks, kRemember, kFlood, kGarbage, kCrash };
inline constexpr int kCommands = 6;
std::string_view CommandName(Command command);

// The method of the pool.
enum class Method { kExecute, kStream, kSubmit };
std::string_view MethodName(Method method);

struct Call {
  int64_t id = 0;
  Command command = Command::kWork;
  Method method = Method::kExecute;
  std::string session;  // empty: none
  std::string detail;   // the arguments, for people
  Time timeout{0};
  Time queue_timeout{0};
  Time work{0};  // duration of the handler

  Time begin{0};
  Time end{0};                      // time of the first outcome
  std::optional<Time> given_up_at;  // its caller stopped it, or refused a chunk
  int outcomes = 0;
  std::optional<Error> error;  // absent: a result
  int worker = -1;             // from CallInfo
  pid_t pid = 0;
  // From the result, or the last chunk: the id, the pid of the worker and, for `remember`, the
  // session's counter.
  int64_t reply_id = 0;
  int64_t reply_pid = 0;
  int64_t count = 0;
  // A stream's chunks: the number in each, and the index that the pool gave it.
  std::vector<int64_t> numbers;
  std::vector<int64_t> indices;
  int64_t chunks_wanted = 0;
  int64_t chunks_reported = 0;  // the result of the stream
};

// A fault from outside, of a worker or of all later starts. The faults of commands (garbage, crash,
// flood) are among the calls.
enum class FaultKind { kKill, kTerminate, kStop, kSlowStart, kFailedStart, kRestart, kResize };
inline constexpr int kFaultKinds = 7;
std::string_view FaultKindName(FaultKind kind);

struct Fault {
  FaultKind kind = FaultKind::kKill;
  int worker = -1;  // -1: all
  pid_t pid = 0;
  Time begin{0};
  Time end{0};  // of a stop: time of SIGCONT; of a kill: its begin
};

// One or two lines of the journal: an end belongs to the latest begin of its id and pid.
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
  std::vector<std::string> faults;  // malformed lines
};

Journal ParseJournal(std::string_view text);

struct History {
  std::vector<Call> calls;
  std::vector<Fault> faults;
  Journal journal;
  std::vector<pid_t> workers_at_end;  // after the last call
};

// One line, with times in seconds since `origin`.
std::string Describe(const Call& call, Time origin);
std::string Describe(const Fault& fault, Time origin);
std::string Describe(const Execution& execution, Time origin);

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_HISTORY_H_
