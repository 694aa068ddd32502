// What a worker knows of a call: the inside of Call.
#ifndef SNAKEPIT_SRC_WORKER_CALL_STATE_H_
#define SNAKEPIT_SRC_WORKER_CALL_STATE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/worker/sessions.h"

namespace snakepit {

using SteadyTime = std::chrono::steady_clock::time_point;

// Filled by a transport before the handler begins; then only the stop changes.
class CallState {
 public:
  std::string command;
  Value args;  // a map
  std::string_view worker_id;
  std::string request_id;
  std::string session_id;                 // empty: none
  std::shared_ptr<SessionState> session;  // null: none
  std::optional<SteadyTime> deadline;     // absent: no limit
  std::stop_source stop;

  // The limit passes so long from now; 0 is no limit, below 0 it has passed already. An earlier
  // deadline stays.
  void LimitTime(int64_t timeout_ms);

  // Why no more is wanted of the call: CANCELLED, or DEADLINE_EXCEEDED; nothing while it is.
  std::optional<Error> GivenUp() const;
};

// An error of a call whose handler was begun, or was not.
Error CallError(ErrorCode code, std::string message, bool may_have_run);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_CALL_STATE_H_
