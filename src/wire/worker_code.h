// The error codes that a worker may report. PROTOCOL.md 5.2.1.
#ifndef SNAKEPIT_WIRE_WORKER_CODE_H_
#define SNAKEPIT_WIRE_WORKER_CODE_H_

#include "snakepit/error.h"

namespace snakepit {

// The code itself, if it is a worker's to give, else HANDLER_FAILED.
inline ErrorCode WorkersCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnimplemented:
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kHandlerFailed:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kCancelled:
    case ErrorCode::kMessageTooLarge:
      return code;
    default:
      return ErrorCode::kHandlerFailed;
  }
}

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_WORKER_CODE_H_
