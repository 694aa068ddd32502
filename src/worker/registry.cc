#include "src/worker/registry.h"

#include <cxxabi.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <typeinfo>
#include <utility>

#include "src/value/utf8.h"
#include "src/wire/worker_code.h"
#include "src/worker/forked.h"

namespace snakepit {
namespace {

std::string Demangled(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free);
  return status == 0 ? name.get() : type.name();
}

// The outcome of a handler that may fail or throw in any way. PROTOCOL.md 6.4.4.
template <typename T, typename F>
Result<T> OutcomeOf(F&& handler) {
  const auto fail = [](ErrorCode code, std::string_view message) {
    return Fail(CallError(code, RepairUtf8(message), true));
  };
  try {
    Result<T> result = handler();
    if (result) return result;
    const Error& error = result.error();
    if (error.message.empty()) return fail(WorkersCode(error.code), "the handler gave no reason");
    if (WorkersCode(error.code) == error.code) return fail(error.code, error.message);
    return fail(ErrorCode::kHandlerFailed, error.ToString());  // no worker may report that code
  } catch (const InvalidArgument& error) {
    const std::string_view message = error.what();
    return fail(ErrorCode::kInvalidArgument,
                message.empty() ? Demangled(typeid(error)) : std::string(message));
  } catch (const std::exception& error) {
    const std::string_view message = error.what();
    return fail(ErrorCode::kHandlerFailed,
                Demangled(typeid(error)) + (message.empty() ? "" : ": ") + std::string(message));
  } catch (const abi::__forced_unwind&) {
    throw;  // the end of a thread cannot be stopped
  } catch (...) {
    return fail(ErrorCode::kHandlerFailed, Demangled(*abi::__cxa_current_exception_type()));
  }
}

// The same, but ends a child that the handler has forked and that returns from it.
template <typename T, typename F>
Result<T> Guarded(F&& handler) {
  Result<T> outcome = OutcomeOf<T>(std::forward<F>(handler));
  if (IsForkedChild()) LeaveForkedChild(outcome ? "" : outcome.error().message);
  return outcome;
}

Error NotBegun(Error error) {
  error.may_have_run = false;
  return error;
}

// The chunks of a streaming command that is called for one result.
class CollectingSink : public StreamSink {
 public:
  explicit CollectingSink(const CallState& call) : call_(call) {}

  Value::Array chunks;

 private:
  Result<void> Deliver(Value chunk, bool) override {
    if (auto given_up = call_.GivenUp()) return Fail(std::move(*given_up));
    if (chunks.size() == kMaxCollectedChunks) {
      return Fail(CallError(ErrorCode::kHandlerFailed,
                            call_.command + ": more than " + std::to_string(kMaxCollectedChunks) +
                                " chunks; call it as a stream",
                            true));
    }
    chunks.push_back(std::move(chunk));
    return {};
  }

  const CallState& call_;
};

}  // namespace

bool StreamSink::Put(Value chunk, bool final) {
  RequireWorkerProcess("ChunkSink::Send()");
  if (ended_ || error_) return false;
  if (Result<void> delivered = Deliver(std::move(chunk), final); !delivered) {
    error_ = std::move(delivered.error());
    return false;
  }
  ++count_;
  ended_ = final;
  return true;
}

void Registry::Add(std::string name, Worker::CommandHandler handler) {
  entries_.insert_or_assign(std::move(name), Entry{.command = std::move(handler)});
}

void Registry::AddStream(std::string name, Worker::StreamHandler handler) {
  entries_.insert_or_assign(std::move(name), Entry{.stream = std::move(handler)});
}

std::vector<std::string> Registry::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

Result<const Registry::Entry*> Registry::Find(const CallState& call) const {
  if (auto given_up = call.GivenUp()) return Fail(NotBegun(std::move(*given_up)));
  if (const auto it = entries_.find(call.command); it != entries_.end()) return &it->second;
  std::string message = "Unknown command: " + call.command + "; supported commands: ";
  std::string_view separator;
  for (const auto& [name, entry] : entries_) {
    message.append(separator).append(name);
    separator = ", ";
  }
  return Fail(CallError(ErrorCode::kUnimplemented, std::move(message), false));
}

Result<Value> Registry::Run(CallState& call) const {
  const auto entry = Find(call);
  if (!entry) return Fail(entry.error());
  const Call seen(call);
  if ((*entry)->command) {
    Result<Value> result = Guarded<Value>([&] { return (*entry)->command(seen); });
    if (auto given_up = call.GivenUp()) return Fail(std::move(*given_up));
    return result;
  }
  CollectingSink sink(call);
  const Result<void> ended = Guarded<void>([&] { return (*entry)->stream(seen, sink); });
  if (sink.error()) return Fail(*sink.error());
  if (auto given_up = call.GivenUp()) return Fail(std::move(*given_up));
  if (!ended) return Fail(ended.error());
  return Value::Map{{"chunks", std::move(sink.chunks)}};
}

Result<void> Registry::RunStream(CallState& call, StreamSink& sink) const {
  const auto entry = Find(call);
  if (!entry) return Fail(entry.error());
  const Call seen(call);
  Result<void> ended;
  if ((*entry)->stream) {
    ended = Guarded<void>([&] { return (*entry)->stream(seen, sink); });
  } else {
    Result<Value> result = Guarded<Value>([&] { return (*entry)->command(seen); });
    if (result) {
      sink.SendLast(std::move(*result));
    } else {
      ended = Fail(std::move(result.error()));
    }
  }
  // With the last chunk the outcome is settled.
  if (sink.ended()) return {};
  if (sink.error()) return Fail(*sink.error());
  if (auto given_up = call.GivenUp()) return Fail(std::move(*given_up));
  return ended;
}

}  // namespace snakepit
