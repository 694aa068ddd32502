#include "snakepit/pool.h"

#include <string>
#include <system_error>
#include <utility>

#include "src/base/threads.h"
#include "src/pool/options.h"
#include "src/pool/pool_impl.h"

namespace snakepit {

Result<std::unique_ptr<Pool>> Pool::Start(PoolOptions options) {
  Result<PoolOptions> complete = Complete(std::move(options));
  if (!complete) return Fail(std::move(complete.error()));
  try {
    auto impl = std::make_unique<Impl>(std::move(*complete));
    if (auto started = impl->Start(); !started) return Fail(std::move(started.error()));
    return std::unique_ptr<Pool>(new Pool(std::move(impl)));
  } catch (const std::system_error& error) {  // no descriptor for the event loop, or no thread
    return Fail(ErrorCode::kInternal, std::string("cannot start the pool: ") + error.what() +
                                          ProcessLimitAdvice(error.code().value()));
  }
}

Pool::Pool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pool::~Pool() = default;

namespace {

// An empty id would stand for no session.
Result<void> ValidateSessionId(std::string_view id) {
  if (!id.empty() && id.size() <= 256) return {};
  return Fail(ErrorCode::kInvalidArgument,
              "a session id has 1 to 256 bytes, this one has " + std::to_string(id.size()));
}

}  // namespace

Result<Value> Pool::Execute(std::string_view command, const Value& args,
                            const CallOptions& options) {
  return impl_->Execute({}, command, args, options);
}

Result<int64_t> Pool::ExecuteStream(std::string_view command, const Value& args,
                                    const ChunkCallback& on_chunk, const CallOptions& options) {
  return impl_->ExecuteStream({}, command, args, on_chunk, options);
}

Result<Value> Pool::ExecuteInSession(std::string_view session_id, std::string_view command,
                                     const Value& args, const CallOptions& options) {
  if (auto valid = ValidateSessionId(session_id); !valid) return Fail(std::move(valid.error()));
  return impl_->Execute(session_id, command, args, options);
}

Result<int64_t> Pool::ExecuteInSessionStream(std::string_view session_id, std::string_view command,
                                             const Value& args, const ChunkCallback& on_chunk,
                                             const CallOptions& options) {
  if (auto valid = ValidateSessionId(session_id); !valid) return Fail(std::move(valid.error()));
  return impl_->ExecuteStream(session_id, command, args, on_chunk, options);
}

void Pool::Submit(std::string_view command, Value args, std::function<void(Result<Value>)> done,
                  const CallOptions& options) {
  impl_->Submit(command, std::move(args), std::move(done), options);
}

void Pool::EndSession(std::string_view session_id) { impl_->EndSession(session_id); }

Result<WorkerHealth> Pool::CheckHealth(int worker_id, std::chrono::milliseconds timeout) {
  return impl_->CheckHealth(worker_id, timeout);
}

PoolStats Pool::Stats() const { return impl_->Stats(); }
std::vector<WorkerInfo> Pool::Workers() const { return impl_->Workers(); }
Result<void> Pool::Restart(std::chrono::milliseconds timeout) { return impl_->Restart(timeout); }
Result<void> Pool::Resize(int workers) { return impl_->Resize(workers); }
bool Pool::Drain(std::chrono::milliseconds timeout) { return impl_->Drain(timeout); }
void Pool::Shutdown() { impl_->Shutdown(); }

}  // namespace snakepit
