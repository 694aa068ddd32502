// The claims of a stdio worker about itself, asked past the pool, which does not use them.
#ifndef SNAKEPIT_CONFORMANCE_HARNESS_RAW_STDIO_H_
#define SNAKEPIT_CONFORMANCE_HARNESS_RAW_STDIO_H_

#include <chrono>
#include <string>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "snakepit/value.h"

namespace snakepit::conformance {

// Starts the worker, makes the handshake and the first ping, asks for `info` (PROTOCOL.md 6.10.4),
// and ends it: `supported_commands`, none from a worker of version 1 or without a handshake.
// PROTOCOL_ERROR, WORKER_LOST and INTERNAL; DEADLINE_EXCEEDED after `limit`.
Result<std::vector<std::string>> QuerySupportedCommands(const Adapter& adapter,
                                                        std::chrono::milliseconds limit);

// The texts of an array, without its other elements; none without an array.
std::vector<std::string> TextsOf(const Value* value);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_HARNESS_RAW_STDIO_H_
