#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "snakepit/worker.h"
#include "src/worker/call_state.h"
#include "src/worker/forked.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// Longer than any process lives, and safe to add to a time point.
constexpr std::chrono::hours kLongest{24 * 365};

// The argument, nothing when it is absent and may be.
const Value* Argument(const Value& args, std::string_view name, bool required) {
  const Value* value = args.Find(name);
  if (value == nullptr && required) {
    throw InvalidArgument("missing argument '" + std::string(name) + "'");
  }
  return value;
}

}  // namespace

void CallState::LimitTime(int64_t timeout_ms) {
  if (timeout_ms == 0) return;
  const std::chrono::milliseconds longest = kLongest;
  const SteadyTime limit = steady_clock::now() + std::clamp(std::chrono::milliseconds(timeout_ms),
                                                            std::chrono::milliseconds(-1), longest);
  deadline = deadline ? std::min(*deadline, limit) : limit;
}

std::optional<Error> CallState::GivenUp() const {
  if (stop.stop_requested()) {
    return CallError(ErrorCode::kCancelled, "the caller gave the call up", true);
  }
  if (deadline && steady_clock::now() >= *deadline) {
    return CallError(ErrorCode::kDeadlineExceeded, "the time limit of the call passed", true);
  }
  return std::nullopt;
}

Error CallError(ErrorCode code, std::string message, bool may_have_run) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  error.may_have_run = may_have_run;
  return error;
}

const Value& Call::args() const { return state_.args; }

int64_t Call::Integer(std::string_view name, std::optional<int64_t> otherwise) const {
  const Value* value = Argument(state_.args, name, !otherwise);
  if (value == nullptr) return *otherwise;
  if (const int64_t* integer = value->get_if<int64_t>()) return *integer;
  throw InvalidArgument("'" + std::string(name) + "' is an integer of 64 bits");
}

std::string_view Call::Text(std::string_view name,
                            std::optional<std::string_view> otherwise) const {
  const Value* value = Argument(state_.args, name, !otherwise);
  if (value == nullptr) return *otherwise;
  if (const std::string* text = value->get_if<std::string>()) return *text;
  throw InvalidArgument("'" + std::string(name) + "' is a text");
}

std::string_view Call::command() const { return state_.command; }
std::string_view Call::worker_id() const { return state_.worker_id; }
std::string_view Call::request_id() const { return state_.request_id; }
std::string_view Call::session_id() const { return state_.session_id; }

std::optional<std::chrono::milliseconds> Call::time_left() const {
  if (!state_.deadline) return std::nullopt;
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(*state_.deadline - steady_clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

bool Call::cancelled() const {
  RequireWorkerProcess("Call::cancelled()");
  return state_.stop.stop_requested();
}

std::stop_token Call::stop_token() const {
  RequireWorkerProcess("Call::stop_token()");
  return state_.stop.get_token();
}

bool Call::Wait(std::chrono::nanoseconds duration) const {
  RequireWorkerProcess("Call::Wait()");
  const SteadyTime end =
      steady_clock::now() + std::min<std::chrono::nanoseconds>(duration, kLongest);
  const bool cut_short = state_.deadline && *state_.deadline < end;
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_until(lock, stop_token(), cut_short ? *state_.deadline : end, [] { return false; });
  return !cut_short && !cancelled();
}

void Call::UseSession(const std::function<void(Value& state)>& use) const {
  RequireWorkerProcess("Call::UseSession()");
  if (state_.session == nullptr) {
    Value nobodys;
    return use(nobodys);
  }
  std::lock_guard lock(state_.session->mutex);
  use(state_.session->value);
}

}  // namespace snakepit
