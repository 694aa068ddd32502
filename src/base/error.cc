#include "snakepit/error.h"

#include <cstring>

namespace snakepit {
namespace {

struct NamedCode {
  ErrorCode code;
  std::string_view name;
};

constexpr NamedCode kNames[] = {
    {ErrorCode::kInvalidArgument, "INVALID_ARGUMENT"},
    {ErrorCode::kUnimplemented, "UNIMPLEMENTED"},
    {ErrorCode::kHandlerFailed, "HANDLER_FAILED"},
    {ErrorCode::kDeadlineExceeded, "DEADLINE_EXCEEDED"},
    {ErrorCode::kCancelled, "CANCELLED"},
    {ErrorCode::kQueueFull, "QUEUE_FULL"},
    {ErrorCode::kQueueTimeout, "QUEUE_TIMEOUT"},
    {ErrorCode::kUnavailable, "UNAVAILABLE"},
    {ErrorCode::kStartFailed, "START_FAILED"},
    {ErrorCode::kStartTimeout, "START_TIMEOUT"},
    {ErrorCode::kWorkerLost, "WORKER_LOST"},
    {ErrorCode::kProtocolError, "PROTOCOL_ERROR"},
    {ErrorCode::kMessageTooLarge, "MESSAGE_TOO_LARGE"},
    {ErrorCode::kSessionBusy, "SESSION_BUSY"},
    {ErrorCode::kSessionLost, "SESSION_LOST"},
    {ErrorCode::kInternal, "INTERNAL"},
};

}  // namespace

std::string_view ErrorCodeName(ErrorCode code) {
  for (const NamedCode& named : kNames) {
    if (named.code == code) return named.name;
  }
  return "INTERNAL";
}

std::optional<ErrorCode> ErrorCodeFromName(std::string_view name) {
  for (const NamedCode& named : kNames) {
    if (named.name == name) return named.code;
  }
  return std::nullopt;
}

std::string Describe(const ExitStatus& status) {
  if (status.signal == 0) return "exit code " + std::to_string(status.code);
  // Unlike strsignal, of any thread; null for a number that has no description.
  const char* description = sigdescr_np(status.signal);
  return "signal " + std::to_string(status.signal) + " (" +
         (description != nullptr ? description : "unknown") + ")";
}

std::string Error::ToString() const {
  std::string text(ErrorCodeName(code));
  text += ": ";
  text += message;
  return text;
}

}  // namespace snakepit
