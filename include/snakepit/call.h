// One call: its options, and the facts about it beside its result.
#ifndef SNAKEPIT_CALL_H_
#define SNAKEPIT_CALL_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "snakepit/value.h"

namespace snakepit {

// The worker that served a call.
struct CallInfo {
  int worker_id = -1;    // -1: the call never reached a worker
  pid_t worker_pid = 0;  // that worker's at that time
  // True if the process that held the session's state is gone, and this call began the session anew
  // on another one (affinity `hint` only).
  bool session_moved = false;
};

struct CallOptions {
  // The session of the call: 1 to 256 bytes of text; absent: none. A session's calls go to the
  // worker that had its first one; SessionOptions::affinity says what happens when that worker is
  // busy or gone. Calls made before the first has ended agree with it on one worker, in every mode.
  // The name reaches workers that know sessions.
  std::optional<std::string> session;
  // Time limit from submission to the result, 1 ms to 24 h; absent: the pool's default.
  std::optional<std::chrono::milliseconds> timeout;
  // Longest time that the call waits for a worker, 0 ms to 24 h; absent: the pool's default.
  std::optional<std::chrono::milliseconds> queue_timeout;
  // A stop request on its source, from any thread, gives the call up: the call ends with CANCELLED
  // at once, and the worker is told. A call that still waits for a worker is never executed, and
  // one that is made after the request is refused. A call that has ended is not changed. The thread
  // that requests the stop must hold no lock that a callback of the call needs.
  std::stop_token stop;
  // Receives the worker that served the call, before the call returns or its callback runs. May be
  // null.
  CallInfo* info = nullptr;
};

// One part of a stream.
struct Chunk {
  Value value;
  int64_t index = 0;   // from 0
  bool final = false;  // also false on the last chunk of a worker that marks the end separately
};

// Called for each chunk, in order. Reading stops while it runs, so a slow callback slows the worker
// (backpressure). False gives the stream up: the call ends with CANCELLED.
using ChunkCallback = std::function<bool(const Chunk&)>;

}  // namespace snakepit

#endif  // SNAKEPIT_CALL_H_
