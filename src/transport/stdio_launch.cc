#include "src/transport/stdio_launch.h"

#include <sys/socket.h>

#include "src/base/fd.h"
#include "src/transport/launch_spec.h"
#include "src/transport/stdio_connection.h"

namespace snakepit {
namespace {

class StdioLaunch : public Launch {
 public:
  // The worker has one end of a socket pair as stdin and stdout: unlike a pipe's, its writes raise
  // no SIGPIPE in the pool, and either side can be shut down without closing a descriptor that
  // another thread may be using.
  StdioLaunch(const Adapter& adapter, const StdioTransport& options, LaunchContext context,
              FdPair sockets)
      : options_(options), context_(std::move(context)), worker_end_(std::move(sockets.second)) {
    channel_ = std::make_shared<FrameChannel>(std::move(sockets.first), options_.max_frame_bytes);
    const std::string id = WorkerIdText(context_.worker_id);
    for (const std::string& argument : adapter.argv) {
      spec_.argv.push_back(FillIn(argument, "{worker_id}", id));
    }
    spec_.environment = WorkerEnvironment(
        adapter, {{"SNAKEPIT_WORKER_ID", id},
                  {"SNAKEPIT_MAX_FRAME_BYTES", std::to_string(options_.max_frame_bytes)}});
    spec_.working_directory = adapter.working_directory;
    spec_.stdin_fd = worker_end_.get();
    spec_.stdout_fd = worker_end_.get();
  }

  void Connect(SteadyTime deadline, ReadyCallback ready) override {
    worker_end_.Reset();
    ConnectStdio(*context_.io, channel_, options_, WorkerIdText(context_.worker_id), deadline,
                 std::move(ready));
  }

  void Abort() override { channel_->Shutdown(SHUT_RDWR); }
  bool EndsBySigterm() const override { return false; }

 private:
  const StdioTransport options_;
  const LaunchContext context_;
  std::shared_ptr<FrameChannel> channel_;
  UniqueFd worker_end_;
};

}  // namespace

Result<std::unique_ptr<Launch>> PrepareStdioLaunch(const Adapter& adapter,
                                                   const StdioTransport& options,
                                                   LaunchContext context) {
  auto sockets = OpenSocketPair();
  if (!sockets) return Fail(std::move(sockets.error()));
  if (auto set = SetNonBlocking(sockets->first.get()); !set) return Fail(std::move(set.error()));
  return std::make_unique<StdioLaunch>(adapter, options, std::move(context), std::move(*sockets));
}

}  // namespace snakepit
