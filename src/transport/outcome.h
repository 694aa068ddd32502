// The outcomes that every kind of connection gives: their errors, and streams that are calls.
#ifndef SNAKEPIT_TRANSPORT_OUTCOME_H_
#define SNAKEPIT_TRANSPORT_OUTCOME_H_

#include <cstdint>

#include "src/transport/connection.h"

namespace snakepit {

// The deadline of the call passed while the worker had it.
CallOutcome<Value> DeadlinePassed(const CallRequest& request);

// True if a call that ended without the loss of the connection was refused by a worker that is
// ending. PROTOCOL.md 1.4.8.
bool IsRefusedAsEnding(const Error& error, const CallRequest& request);

// The caller gave the call up before it was sent.
Error NotBegun();

// The caller gave the call up; its chunk callback gave the stream up.
Error GivenUp(const CallRequest& request);
Error StreamGivenUp();

// A health check was not answered in time, while the calls of the worker went on.
inline constexpr char kBusyWithCalls[] =
    "the worker did not answer a health check in time, but its calls go on: it is busy";

// The same error, for a call that the worker may have executed.
Error MayHaveRun(Error error);

// The stream of a worker that does not stream: its one result is the final chunk.
CallOutcome<int64_t> AsStream(CallOutcome<Value> outcome, const ChunkCallback& on_chunk);

// Whole milliseconds from now to the deadline, at least 1.
int64_t MillisecondsUntil(SteadyTime deadline);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_OUTCOME_H_
