#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "snakepit/worker.h"
#include "src/base/mutex.h"
#include "src/base/quote.h"
#include "src/value/kind_error.h"
#include "src/worker/call_state.h"
#include "src/worker/forked.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// Longer than any process lives, and safe to add to a time point.
constexpr std::chrono::hours kLongest{24 * 365};

// The argument; null when it is missing and not required.
const Value* Argument(const Value& args, std::string_view name, bool required) {
  const Value* value = args.Find(name);
  if (value == nullptr && required) throw InvalidArgument(QuoteBytes(name) + " is missing");
  return value;
}

[[noreturn]] void Refuse(std::string_view name, std::string_view wanted, const Value& found) {
  throw InvalidArgument(KindError(QuoteBytes(name), wanted, found).message);
}

// The content of an argument that must be there.
template <typename T>
const T& Content(const Value& args, std::string_view name, std::string_view wanted) {
  const Value* value = Argument(args, name, true);
  if (const T* content = value->get_if<T>()) return *content;
  Refuse(name, wanted, *value);
}

// "an integer from 1 to 10", "a number of at least 0.5". A limit that is none is a null.
std::string Describe(std::string_view kind, const Value& min, const Value& max) {
  std::string text(kind);
  if (!min.is_null() && !max.is_null())
    return text + " from " + min.ToJson() + " to " + max.ToJson();
  if (!min.is_null()) return text + " of at least " + min.ToJson();
  if (!max.is_null()) return text + " up to " + max.ToJson();
  return text;
}

template <typename T>
Value LimitOrNull(T limit, T none) {
  return limit == none ? Value() : Value(limit);
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

int64_t Call::Integer(std::string_view name, std::optional<int64_t> otherwise,
                      IntegerRange range) const {
  const Value* value = Argument(state_.args, name, !otherwise);
  if (value == nullptr) return *otherwise;
  const int64_t* integer = value->get_if<int64_t>();
  if (integer != nullptr && *integer >= range.min && *integer <= range.max) return *integer;
  // An integer that int64_t does not hold is over the default limit.
  const bool is_over = value->get_if<uint64_t>() != nullptr;
  Refuse(name,
         Describe("an integer", LimitOrNull(range.min, IntegerRange().min),
                  is_over ? Value(range.max) : LimitOrNull(range.max, IntegerRange().max)),
         *value);
}

double Call::Number(std::string_view name, std::optional<double> otherwise,
                    NumberRange range) const {
  const Value* value = Argument(state_.args, name, !otherwise);
  if (value == nullptr) return *otherwise;
  const Result<double> number = value->Get<double>();
  if (number && *number >= range.min && *number <= range.max) return *number;
  Refuse(name,
         Describe("a number", LimitOrNull(range.min, NumberRange().min),
                  LimitOrNull(range.max, NumberRange().max)),
         *value);
}

bool Call::Bool(std::string_view name, std::optional<bool> otherwise) const {
  const Value* value = Argument(state_.args, name, !otherwise);
  if (value == nullptr) return *otherwise;
  if (const bool* flag = value->get_if<bool>()) return *flag;
  Refuse(name, "true or false", *value);
}

std::string Call::Text(std::string_view name, std::optional<std::string_view> otherwise) const {
  const Value* value = Argument(state_.args, name, !otherwise);
  if (value == nullptr) return std::string(*otherwise);
  if (const std::string* text = value->get_if<std::string>()) return *text;
  Refuse(name, "a text", *value);
}

const std::string& Call::Bytes(std::string_view name) const {
  return Content<snakepit::Bytes>(state_.args, name, "bytes").data;
}

const Value::Array& Call::Array(std::string_view name) const {
  return Content<Value::Array>(state_.args, name, "an array");
}

const Value::Map& Call::Map(std::string_view name) const {
  return Content<Value::Map>(state_.args, name, "a map");
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

bool Call::WaitFor(std::chrono::nanoseconds duration) const {
  RequireWorkerProcess("Call::Wait()");
  const SteadyTime end = steady_clock::now() + duration;
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
  SessionState& session = *state_.session;
  const MutexLock lock(session.mutex);
  use(session.value);
}

}  // namespace snakepit
