// What must be so of every storm, whatever it did: pure functions on a history.
#ifndef SNAKEPIT_STORM_CHECK_H_
#define SNAKEPIT_STORM_CHECK_H_

#include <cstddef>
#include <string>
#include <vector>

#include "snakepit/pool.h"
#include "storm/history.h"

namespace snakepit::storm {

// What the pool under test was told, and how much later than it should things may happen.
struct Limits {
  Time cancel_grace{0};
  Time health_timeout{0};
  Affinity affinity = Affinity::kHint;
  size_t max_queued_calls = 0;
  // From a fault until the workers are at full strength again, on a busy machine.
  Time recovery = std::chrono::seconds(5);
  // Between a moment and what somebody who waits for a processor makes of it.
  Time slack = std::chrono::milliseconds(500);
  // Clocks are read at different moments, and timeouts go to workers as whole milliseconds.
  Time resolution = std::chrono::milliseconds(5);
};

struct Violation {
  std::string rule;
  std::string what;
  const Call* call = nullptr;  // of the history; nullptr: of none
};

// The rules, each by a name:
//
//   one outcome        every call has exactly one
//   in time            it comes by the call's deadline, and soon after the call was given up
//   executed once      no call was executed twice, one that succeeded was once, one that is said
//   not
//                      to have run never; by the worker that it was given to; nobody else was
//   right reply        the result is that call's, by the worker that CallInfo names
//   whole stream       chunks come in order, without gaps, and all of them when the stream succeeds
//   session memory     the counter of a session goes up from call to call on one process, and in
//   the
//                      strict modes no other process ever serves the session
//   error has a cause  a fault, the call's own deadline or its caller explains the error's code
//   journal            the journal itself is whole
std::vector<Violation> Check(const History& history, const Limits& limits);

}  // namespace snakepit::storm

#endif  // SNAKEPIT_STORM_CHECK_H_
