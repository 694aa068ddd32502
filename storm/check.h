// The rules that hold in every storm: pure functions on a history.
#ifndef SNAKEPIT_STORM_CHECK_H_
#define SNAKEPIT_STORM_CHECK_H_

#include <cstddef>
#include <string>
#include <vector>

#include "snakepit/pool.h"
#include "storm/history.h"

namespace snakepit::storm {

// The options of the pool under test, and the tolerances.
struct Limits {
  Time cancel_grace{0};
  Time health_timeout{0};
  Affinity affinity = Affinity::kHint;
  size_t max_queued_calls = 0;
  // Longest time from a fault to full strength, on a busy machine.
  Time recovery = std::chrono::seconds(5);
  // Longest wait of a thread for a processor.
  Time slack = std::chrono::milliseconds(500);
  // Clocks are read at different moments, and workers get timeouts as whole milliseconds.
  Time resolution = std::chrono::milliseconds(5);
};

struct Violation {
  std::string rule;
  std::string what;
  const Call* call = nullptr;  // in the history; nullptr: no single call
};

// The rules, each by a name:
//
//   one outcome        every call has exactly one
//   in time            it comes by the call's deadline, and soon after a cancellation
//   executed once      no call runs twice; one that succeeded ran once; one whose error says that
//   it
//                      did not run never did; it ran on the worker that it was given to
//   right reply        the result is that call's, by the worker that CallInfo names
//   whole stream       chunks come in order, without gaps, and all of them if the stream succeeds
//   session memory     the counter of a session goes up from call to call on one process, and in
//                      the strict modes no other process ever serves the session
//   error has a cause  a fault, the call's own deadline or its caller explains the error's code
//   journal            the journal itself is whole
std::vector<Violation> Check(const History& history, const Limits& limits);

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_CHECK_H_
