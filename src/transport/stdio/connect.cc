#include "src/transport/stdio/connect.h"

#include <cerrno>
#include <utility>

#include "src/base/fd.h"
#include "src/transport/stdio/connection.h"
#include "src/value/json.h"

namespace snakepit {
namespace {

// The first ping: PROTOCOL.md 2.5.
class FirstPing : public std::enable_shared_from_this<FirstPing> {
 public:
  using ReadyCallback = std::function<void(Result<std::shared_ptr<Connection>>)>;

  FirstPing(std::shared_ptr<Connection> connection, const std::string& worker_id,
            ReadyCallback ready)
      : connection_(std::move(connection)),
        args_(Value::Map{{"worker_id", worker_id}, {"initialization", true}}),
        ready_(std::move(ready)) {}

  void Send(SteadyTime deadline) {
    connection_->CallAsync({.command = "ping", .args = &args_, .deadline = deadline},
                           [self = shared_from_this()](CallOutcome<Value> outcome) {
                             self->ready_(self->Judge(std::move(outcome.result)));
                           });
  }

 private:
  Result<std::shared_ptr<Connection>> Judge(Result<Value> reply) {
    if (reply && reply->TextAt("status") == "ok") return std::move(connection_);
    if (reply) {
      return Fail(
          ErrorCode::kStartFailed,
          "the first ping was not answered with status \"ok\" but with " + BriefJson(*reply));
    }
    Error error = std::move(reply.error());
    error.may_have_run = false;
    switch (error.code) {
      case ErrorCode::kDeadlineExceeded:
        return Fail(ErrorCode::kStartTimeout, "the worker did not answer the first ping");
      case ErrorCode::kWorkerLost:
      case ErrorCode::kProtocolError:
        return Fail(std::move(error));
      default:
        return Fail(ErrorCode::kStartFailed, "the first ping failed: " + error.ToString());
    }
  }

  std::shared_ptr<Connection> connection_;
  const Value args_;
  const ReadyCallback ready_;
};

}  // namespace

void ConnectStdio(asio::io_context& io, std::shared_ptr<FrameChannel> channel,
                  const StdioTransport& options, size_t max_decoded_bytes,
                  const std::string& worker_id, std::chrono::milliseconds cancel_grace,
                  SteadyTime deadline,
                  std::function<void(Result<std::shared_ptr<Connection>>)> ready) {
  auto connection = std::make_shared<StdioConnection>(io, channel, max_decoded_bytes, cancel_grace);
  if (!connection->valid()) return ready(Fail(ErrnoError("eventfd", errno)));
  auto ping = std::make_shared<FirstPing>(connection, worker_id, ready);
  if (!options.negotiate) {
    connection->Assume(options.codecs.front());
    return ping->Send(deadline);
  }
  connection->Negotiate({.codecs = options.codecs, .max_frame_bytes = options.max_frame_bytes},
                        deadline, [ping, ready, deadline](Result<void> agreed) {
                          if (!agreed) return ready(Fail(std::move(agreed.error())));
                          ping->Send(deadline);
                        });
}

}  // namespace snakepit
