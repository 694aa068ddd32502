#include "src/transport/stdio/handshake.h"

#include <cerrno>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>

#include "src/base/fd.h"
#include "src/base/quote.h"
#include "src/transport/stdio/connection.h"
#include "src/transport/stdio/pump.h"
#include "src/value/json.h"
#include "src/wire/pool_side/handshake.h"

namespace snakepit {
namespace {

using ReadyCallback = std::function<void(Result<std::shared_ptr<Connection>>)>;
using ProgressKind = FrameChannel::Progress::Kind;

// The offer and its answer: PROTOCOL.md 3.
class Negotiation : public StdioPump::User, public std::enable_shared_from_this<Negotiation> {
 public:
  using Done = std::function<void(Result<Agreement>)>;

  Negotiation(asio::io_context& io, std::shared_ptr<FrameChannel> channel, Offer offer,
              SteadyTime deadline, Done done)
      : channel_(std::move(channel)),
        offer_(std::move(offer)),
        deadline_(deadline),
        done_(std::move(done)),
        pump_(io, *channel_) {}

  void Begin() {
    std::string frame;
    EncodeOfferFrame(offer_, &frame);
    channel_->Append(&frame);
    channel_->Flush();
    // At once: a worker that has ended already may have said why, and the next event is its exit.
    OnTurn();
  }

 private:
  void OnTurn() override {
    if (!done_) return;
    try {
      TakeTurn();
    } catch (const std::exception& error) {  // there is no memory, say, for what has come
      End(Fail(ErrorCode::kInternal, std::string("the pool could not read on: ") + error.what()));
    }
  }

  void TakeTurn() {
    if (channel_->has_unsent()) channel_->Flush();
    FrameChannel::Progress progress = channel_->Receive();
    if (progress.kind == ProgressKind::kPayload) {
      return End(DecodeOfferReply(progress.payload, offer_));
    }
    if (progress.kind != ProgressKind::kBlocked) {
      progress.error.message = CutText(progress.error.message, kMostSharedTextBytes);
      return End(Fail(std::move(progress.error)));
    }
    // After what is there has been read: this thread may have been held up until now.
    if (std::chrono::steady_clock::now() >= deadline_) {
      return End(Fail(ErrorCode::kStartTimeout,
                      "the worker did not answer the handshake (one that knows none is to be used "
                      "with a fixed codec)"));
    }
    pump_.WaitForChannel(shared_from_this());
    pump_.SetTimer(deadline_, shared_from_this());
  }

  void End(Result<Agreement> result) {
    pump_.Release();  // the descriptors are the connection's to wait for
    pump_.SetTimer(std::nullopt, nullptr);
    std::exchange(done_, nullptr)(std::move(result));
  }

  const std::shared_ptr<FrameChannel> channel_;
  const Offer offer_;
  const SteadyTime deadline_;
  Done done_;  // null: it has ended
  StdioPump pump_;
};

// Makes something of the answer to the first ping: PROTOCOL.md 2.5.
Result<void> JudgePing(Result<Value> reply) {
  if (reply && reply->TextAt("status") == "ok") return {};
  if (reply) {
    return Fail(ErrorCode::kStartFailed,
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

void SendFirstPing(std::shared_ptr<Connection> connection, const std::string& worker_id,
                   SteadyTime deadline, ReadyCallback ready) {
  const auto args =
      std::make_shared<const Value>(Value::Map{{"worker_id", worker_id}, {"initialization", true}});
  const CallRequest ping{.command = "ping", .args = args.get(), .deadline = deadline};
  Connection& to = *connection;
  to.CallAsync(ping, [args, connection = std::move(connection),
                      ready = std::move(ready)](CallOutcome<Value> outcome) {
    Result<void> judged = JudgePing(std::move(outcome.result));
    if (!judged) return ready(Fail(std::move(judged.error())));
    ready(connection);
  });
}

}  // namespace

void ConnectStdio(asio::io_context& io, std::shared_ptr<FrameChannel> channel,
                  const StdioTransport& options, size_t max_decoded_bytes,
                  const std::string& worker_id, std::chrono::milliseconds cancel_grace,
                  SteadyTime deadline,
                  std::function<void(Result<std::shared_ptr<Connection>>)> ready) {
  auto agreed = [&io, channel, max_decoded_bytes, worker_id, cancel_grace, deadline,
                 ready = std::move(ready)](Result<Agreement> agreement) {
    if (!agreement) return ready(Fail(std::move(agreement.error())));
    auto link = std::make_shared<StdioLink>(io, channel, std::move(*agreement), max_decoded_bytes,
                                            cancel_grace);
    if (!link->valid()) return ready(Fail(ErrnoError("eventfd", errno)));
    SendFirstPing(std::make_shared<StdioConnection>(std::move(link)), worker_id, deadline, ready);
  };
  if (options.negotiate) {
    const Offer offer{.codecs = options.codecs, .max_frame_bytes = options.max_frame_bytes};
    return std::make_shared<Negotiation>(io, channel, offer, deadline, std::move(agreed))->Begin();
  }
  // Instead of a negotiation: the legacy protocol.
  Agreement legacy;
  legacy.codec = options.codecs.front();
  legacy.max_frame_bytes = channel->max_frame_bytes();
  agreed(std::move(legacy));
}

}  // namespace snakepit
