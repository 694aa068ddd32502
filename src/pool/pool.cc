#include "snakepit/pool.h"

#include <cerrno>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "src/base/threads.h"
#include "src/pool/options.h"
#include "src/pool/pool_impl.h"
#include "src/pool/pool_starter.h"

namespace snakepit {

Result<Pool> Pool::Start(PoolOptions options) { return PoolStarter::Start(std::move(options), {}); }

Result<Pool> PoolStarter::Start(PoolOptions options, LaunchFactory launches) {
  Result<PoolOptions> complete = Complete(std::move(options));
  if (!complete) return Fail(std::move(complete.error()));
  try {
    auto impl = std::make_unique<Pool::Impl>(std::move(*complete), std::move(launches));
    if (auto started = impl->Start(); !started) return Fail(std::move(started.error()));
    return Pool(std::move(impl));
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
  // A forked child only forgets: all that the pool has belongs to the parent.
  if (impl_ != nullptr && !impl_->IsHere()) (void)impl_.release();
}

Pool::Pool(Pool&&) noexcept = default;

Pool& Pool::operator=(Pool&& other) noexcept {
  if (this == &other) return *this;
  Pool old(std::move(*this));
  impl_ = std::move(other.impl_);
  return *this;
}

Result<Value> Pool::Execute(std::string_view command, const Value& args,
                            const CallOptions& options) {
  if (!impl_->IsHere()) return Fail(impl_->ForkedError());
  return impl_->calls().Execute(command, args, options);
}

Result<int64_t> Pool::ExecuteStream(std::string_view command, const Value& args,
                                    const ChunkCallback& on_chunk, const CallOptions& options) {
  if (!impl_->IsHere()) return Fail(impl_->ForkedError());
  return impl_->calls().ExecuteStream(command, args, on_chunk, options);
}

void Pool::Submit(std::string_view command, Value args, std::function<void(Result<Value>)> done,
                  const CallOptions& options) {
  if (!impl_->IsHere()) return done(Fail(impl_->ForkedError()));
  impl_->calls().Submit(command, std::move(args), std::move(done), options);
}

void Pool::SubmitStream(std::string_view command, Value args, ChunkCallback on_chunk,
                        std::function<void(Result<int64_t>)> done, const CallOptions& options) {
  if (!impl_->IsHere()) return done(Fail(impl_->ForkedError()));
  impl_->calls().SubmitStream(command, std::move(args), std::move(on_chunk), std::move(done),
                              options);
}

AwaitableCall Pool::Submit(std::string_view command, Value args, CallOptions options) {
  return AwaitableCall(*this, command, std::move(args), std::move(options));
}

std::future<Result<Value>> Pool::SubmitFuture(std::string_view command, Value args,
                                              const CallOptions& options) {
  auto promise = std::make_shared<std::promise<Result<Value>>>();
  std::future<Result<Value>> future = promise->get_future();
  Submit(
      command, std::move(args),
      [promise](Result<Value> result) { promise->set_value(std::move(result)); }, options);
  return future;
}

void Pool::EndSession(std::string_view session) {
  if (impl_->IsHere()) impl_->EndSession(session);
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
