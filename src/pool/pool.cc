#include "snakepit/pool.h"

#include <cerrno>
#include <new>
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
  } catch (const std::bad_alloc&) {
    return Fail(ErrorCode::kInternal,
                "cannot start the pool: out of memory" + ProcessLimitAdvice(ENOMEM));
  }
}

Pool::Pool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Pool::~Pool() {
  // A forked process only forgets: what there is belongs to its parent.
  if (!impl_->IsHere()) (void)impl_.release();
}

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
  if (!impl_->IsHere()) return Fail(impl_->ForkedError());
  return impl_->Execute({}, command, args, options);
}

Result<int64_t> Pool::ExecuteStream(std::string_view command, const Value& args,
                                    const ChunkCallback& on_chunk, const CallOptions& options) {
  if (!impl_->IsHere()) return Fail(impl_->ForkedError());
  return impl_->ExecuteStream({}, command, args, on_chunk, options);
}

Result<Value> Pool::ExecuteInSession(std::string_view session_id, std::string_view command,
                                     const Value& args, const CallOptions& options) {
  if (!impl_->IsHere()) return Fail(impl_->ForkedError());
  if (auto valid = ValidateSessionId(session_id); !valid) return Fail(std::move(valid.error()));
  return impl_->Execute(session_id, command, args, options);
}

Result<int64_t> Pool::ExecuteInSessionStream(std::string_view session_id, std::string_view command,
                                             const Value& args, const ChunkCallback& on_chunk,
                                             const CallOptions& options) {
  if (!impl_->IsHere()) return Fail(impl_->ForkedError());
  if (auto valid = ValidateSessionId(session_id); !valid) return Fail(std::move(valid.error()));
  return impl_->ExecuteStream(session_id, command, args, on_chunk, options);
}

void Pool::Submit(std::string_view command, Value args, std::function<void(Result<Value>)> done,
                  const CallOptions& options) {
  if (!impl_->IsHere()) return done(Fail(impl_->ForkedError()));
  impl_->Submit(command, std::move(args), std::move(done), options);
}

void Pool::EndSession(std::string_view session_id) {
  if (impl_->IsHere()) impl_->EndSession(session_id);
}

Result<WorkerHealth> Pool::CheckHealth(int worker_id, std::chrono::milliseconds timeout) {
  if (!impl_->IsHere()) return Fail(impl_->ForkedError());
  return impl_->CheckHealth(worker_id, timeout);
}

PoolStats Pool::Stats() const {
  if (!impl_->IsHere()) return {.last_start_error = impl_->ForkedError().message};
  return impl_->Stats();
}

std::vector<WorkerInfo> Pool::Workers() const {
  if (!impl_->IsHere()) return {};
  return impl_->Workers();
}

Result<void> Pool::Restart(std::chrono::milliseconds timeout) {
  if (!impl_->IsHere()) return Fail(impl_->ForkedError());
  return impl_->Restart(timeout);
}

Result<void> Pool::Resize(int workers) {
  if (!impl_->IsHere()) return Fail(impl_->ForkedError());
  return impl_->Resize(workers);
}

bool Pool::Drain(std::chrono::milliseconds timeout) {
  return impl_->IsHere() && impl_->Drain(timeout);
}

void Pool::Shutdown() {
  if (impl_->IsHere()) impl_->Shutdown();
}

}  // namespace snakepit
