// Helpers of the cases about streams.
#ifndef SNAKEPIT_CONFORMANCE_CASES_STREAMING_H_
#define SNAKEPIT_CONFORMANCE_CASES_STREAMING_H_

#include <chrono>
#include <optional>

#include "conformance/harness/testbed.h"

namespace snakepit::conformance {

// The arguments of ping_stream. PROTOCOL.md 7.3.1.
Value PingStreamArgs(int count, std::chrono::milliseconds interval);

// Not-applicable if the worker says that it has no ping_stream; nothing if it has.
std::optional<Verdict> NeedPingStream(const Testbed& testbed);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_CASES_STREAMING_H_
