#include "src/transport/stdio/launch.h"

#include "src/base/fd.h"
#include "src/transport/launch_spec.h"
#include "src/transport/stdio/handshake.h"
#include "src/value/decode_budget.h"

namespace snakepit {
namespace {

class StdioLaunch : public Launch {
 public:
  // The worker has socket pairs as stdin and stdout. Unlike a pipe, a socket raises no SIGPIPE in
  // the pool, and can be shut down without closing a descriptor that another thread may be using.
  // There are two of them, so that a worker that closes just its stdout is noticed.
  StdioLaunch(const Adapter& adapter, const StdioTransport& options, LaunchContext context,
              FdPair input, FdPair output)
      : options_(options),
        max_decoded_bytes_(DecodedLimit(adapter.max_decoded_bytes, options.max_frame_bytes)),
        context_(std::move(context)),
        worker_stdin_(std::move(input.second)),
        worker_stdout_(std::move(output.second)) {
    channel_ = std::make_shared<FrameChannel>(std::move(input.first), std::move(output.first),
                                              options_.max_frame_bytes);
    const std::string id = WorkerIdText(context_.worker_id);
    const Placeholders placeholders = {{"{worker_id}", id}, {"{instance}", context_.instance}};
    spec_.argv = FillIn(adapter.argv, placeholders);
    spec_.end_command = FillIn(adapter.end.command, placeholders);
    spec_.environment = WorkerEnvironment(
        adapter, {{"SNAKEPIT_WORKER_ID", id},
                  {"SNAKEPIT_MAX_FRAME_BYTES", std::to_string(options_.max_frame_bytes)}});
    spec_.stdin_fd = worker_stdin_.get();
    spec_.stdout_fd = worker_stdout_.get();
  }

  void Connect(pid_t, SteadyTime deadline, ReadyCallback ready) override {
    worker_stdin_.Reset();
    worker_stdout_.Reset();
    ConnectStdio(*context_.io, channel_, options_, max_decoded_bytes_,
                 WorkerIdText(context_.worker_id), context_.cancel_grace, deadline,
                 std::move(ready));
  }

  void Abort() override { channel_->Abort(); }
  bool EndsBySigterm() const override { return false; }

 private:
  const StdioTransport options_;
  const size_t max_decoded_bytes_;
  const LaunchContext context_;
  std::shared_ptr<FrameChannel> channel_;
  UniqueFd worker_stdin_;
  UniqueFd worker_stdout_;
};

}  // namespace

Result<std::unique_ptr<Launch>> PrepareStdioLaunch(const Adapter& adapter,
                                                   const StdioTransport& options,
                                                   LaunchContext context) {
  auto input = OpenSocketPair();
  if (!input) return Fail(std::move(input.error()));
  auto output = OpenSocketPair();
  if (!output) return Fail(std::move(output.error()));
  return std::make_unique<StdioLaunch>(adapter, options, std::move(context), std::move(*input),
                                       std::move(*output));
}

}  // namespace snakepit
