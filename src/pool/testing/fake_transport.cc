#include "src/pool/testing/fake_transport.h"

#include <fcntl.h>

#include <memory>
#include <utility>

#include "src/base/fd.h"

namespace snakepit {
namespace testing {

namespace {

class FakeConnection : public Connection {
 public:
  explicit FakeConnection(FakeTransport& fake) : fake_(fake), agreement_(fake.agreement) {}

  const Agreement& agreement() const override { return agreement_; }
  CallOutcome<Value> Call(const CallRequest& request) override { return fake_.call(request); }
  CallOutcome<int64_t> Stream(const CallRequest& request, const ChunkCallback& on_chunk) override {
    return fake_.stream(request, on_chunk);
  }
  void CallAsync(const CallRequest& request,
                 std::function<void(CallOutcome<Value>)> done) override {
    fake_.call_async(request, std::move(done));
  }
  void StreamAsync(const CallRequest& request, ChunkCallback on_chunk,
                   std::function<void(CallOutcome<int64_t>)> done) override {
    fake_.stream_async(request, std::move(on_chunk), std::move(done));
  }
  void CheckHealth(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) override {
    fake_.check_health(deadline, std::move(done));
  }
  void CheckIdle(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) override {
    if (!fake_.check_idle) return CheckHealth(deadline, std::move(done));
    fake_.check_idle(deadline, std::move(done));
  }
  void EndSession(const std::string& session_id) override { fake_.end_session(session_id); }
  void AskToEnd() override { fake_.ask_to_end(); }
  void Abort() override { fake_.abort(); }

 private:
  FakeTransport& fake_;
  const Agreement agreement_;
};

class FakeLaunch : public Launch {
 public:
  explicit FakeLaunch(FakeTransport& fake)
      : fake_(fake), null_(open("/dev/null", O_RDWR | O_CLOEXEC)) {
    spec_.argv = fake.argv;
    spec_.stdin_fd = spec_.stdout_fd = null_.get();
    secret_ = fake.secret;
  }

  void Connect(pid_t, SteadyTime, ReadyCallback ready) override { fake_.connect(std::move(ready)); }
  void Abort() override {}
  bool EndsBySigterm() const override { return true; }

 private:
  FakeTransport& fake_;
  const UniqueFd null_;
};

}  // namespace

std::shared_ptr<Connection> FakeTransport::Connect() {
  return std::make_shared<FakeConnection>(*this);
}

LaunchFactory FakeTransport::launches() {
  return {
      .prepare = [this](const Adapter&, LaunchContext context) -> Result<std::unique_ptr<Launch>> {
        io = context.io;
        cancel_grace = context.cancel_grace;
        return std::make_unique<FakeLaunch>(*this);
      },
      .needs_runtime_directory = [](const Adapter&) { return false; }};
}

}  // namespace testing
}  // namespace snakepit
