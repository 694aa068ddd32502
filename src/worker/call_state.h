// The state of a call in the worker, behind the handler's Call.
#ifndef SNAKEPIT_WORKER_CALL_STATE_H_
#define SNAKEPIT_WORKER_CALL_STATE_H_

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

// A transport fills it before the handler begins. From then on only the stop changes.
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

  // Sets the deadline so far from now, unless an earlier one is set. 0 is no limit; a limit below 0
  // has passed already.
  void LimitTime(int64_t timeout_ms);

  // The reason why nobody waits for the call any more: CANCELLED or DEADLINE_EXCEEDED. Nothing
  // while somebody does.
  std::optional<Error> GivenUp() const;
};

// An error of a call. may_have_run says whether its handler was begun.
Error CallError(ErrorCode code, std::string message, bool may_have_run);

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_CALL_STATE_H_
