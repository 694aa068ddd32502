#include "src/transport/stdio_connection.h"

#include <algorithm>
#include <utility>

#include "src/transport/adaptive_wait.h"
#include "src/transport/conversation.h"
#include "src/wire/handshake.h"
#include "src/wire/message.h"

namespace snakepit {
namespace {

// One call or stream, from its request to its end.
class StdioCall : public Conversation {
 public:
  // `on_chunk` is null for a call that is no stream.
  StdioCall(FrameChannel& channel, const Agreement& agreement, uint64_t id,
            const CallRequest& request, const ChunkCallback* on_chunk)
      : channel_(channel), agreement_(agreement), id_(id), request_(request), on_chunk_(on_chunk) {}

  // False when there is nothing to send, because the call has ended already.
  bool Begin() {
    const Request message{
        .id = id_,
        .command = request_.command,
        .args = request_.args,
        .version = agreement_.version,
        .stream = on_chunk_ != nullptr,
        .session_id = agreement_.session ? request_.session_id : std::string_view(),
        .timeout_ms = MillisecondsUntil(request_.deadline),
    };
    channel_.TakeSomethingWasSent();
    auto encoded = EncodeRequestFrame(agreement_.codec, message, channel_.max_frame_bytes(),
                                      &channel_.outgoing());
    if (!encoded) End(Fail(std::move(encoded.error())), AfterCall::kUsable);
    return encoded.has_value();
  }

  bool OnPayload(std::string_view payload) override {
    auto reply = DecodeReply(agreement_.codec, payload);
    if (!reply) {
      // The frames are in step, and ids tell late replies: only the call fails. PROTOCOL.md 2.6.
      return End(Fail(MayHaveRun(std::move(reply.error()))),
                 on_chunk_ == nullptr ? AfterCall::kUsable : AfterCall::kUnusable);
    }
    if (!reply->id) return OutOfStep("sent a reply without an id: " + Describe(*reply));
    if (*reply->id != static_cast<int64_t>(id_)) {
      if (*reply->id > 0 && *reply->id < static_cast<int64_t>(id_)) return false;  // a late reply
      return OutOfStep("sent a reply to call " + std::to_string(*reply->id) +
                       ", which was not made");
    }
    switch (reply->kind) {
      case Reply::Kind::kError:
        return End(Fail(std::move(reply->error)), AfterCall::kUsable);
      case Reply::Kind::kResult:
        if (chunks_ > 0) return OutOfStep("sent a result in the middle of a stream");
        if (agreement_.version == 1) {
          if (auto error = LegacyResultError(reply->value)) {
            return End(Fail(std::move(*error)), AfterCall::kUsable);
          }
        }
        if (on_chunk_ != nullptr) return OnSingleResult(std::move(reply->value));
        return End(std::move(reply->value), AfterCall::kUsable);
      case Reply::Kind::kChunk:
        return OnChunk(std::move(*reply));
    }
    return false;
  }

  void OnFailure(Failure failure, Error error) override {
    switch (failure) {
      case Failure::kDeadline:
        outcome_ = DeadlinePassed(request_);
        return;
      case Failure::kClosed:
        error.may_have_run = channel_.TakeSomethingWasSent();
        End(Fail(std::move(error)), AfterCall::kLost);
        return;
      case Failure::kBroken:
        End(Fail(MayHaveRun(std::move(error))), AfterCall::kUnusable);
        return;
    }
  }

  CallOutcome<Value> TakeOutcome() { return std::move(outcome_); }
  int64_t chunks() const { return chunks_; }

 private:
  static std::string Describe(const Reply& reply) {
    return reply.kind == Reply::Kind::kError ? reply.error.message : reply.value.ToJson();
  }

  bool End(Result<Value> result, AfterCall after) {
    outcome_ = {std::move(result), after};
    return true;
  }

  bool OutOfStep(std::string what) {
    return End(Fail(MayHaveRun({.code = ErrorCode::kProtocolError,
                                .message = "the worker " + std::move(what)})),
               AfterCall::kUnusable);
  }

  // The command does not stream.
  bool OnSingleResult(Value result) {
    const Chunk chunk{.value = std::move(result), .index = chunks_++, .final = true};
    if (!(*on_chunk_)(chunk)) return End(Fail(StreamGivenUp()), AfterCall::kUsable);
    return End(Value(), AfterCall::kUsable);
  }

  // PROTOCOL.md 6.3.
  bool OnChunk(Reply reply) {
    if (on_chunk_ == nullptr) return OutOfStep("sent a chunk in reply to a call that is no stream");
    if (reply.chunk_index != chunks_) {
      return OutOfStep("sent chunk " + std::to_string(reply.chunk_index) + " where chunk " +
                       std::to_string(chunks_) + " was due");
    }
    if (reply.has_value) {
      const Chunk chunk{.value = std::move(reply.value), .index = chunks_, .final = reply.final};
      ++chunks_;
      if (!(*on_chunk_)(chunk)) {
        return End(Fail(StreamGivenUp()), reply.final ? AfterCall::kUsable : AfterCall::kUnusable);
      }
    }
    return reply.final && End(Value(), AfterCall::kUsable);
  }

  FrameChannel& channel_;
  const Agreement& agreement_;
  const uint64_t id_;
  const CallRequest request_;
  const ChunkCallback* const on_chunk_;
  int64_t chunks_ = 0;
  CallOutcome<Value> outcome_{Value(), AfterCall::kUsable};
};

class StdioConnection : public Connection, public std::enable_shared_from_this<StdioConnection> {
 public:
  StdioConnection(asio::io_context& io, std::shared_ptr<FrameChannel> channel, Agreement agreement)
      : io_(io), channel_(std::move(channel)), agreement_(std::move(agreement)) {}

  CallOutcome<Value> Call(const CallRequest& request) override {
    StdioCall call(*channel_, agreement_, ++last_id_, request, nullptr);
    Run(call, request.deadline);
    return call.TakeOutcome();
  }

  CallOutcome<int64_t> Stream(const CallRequest& request, const ChunkCallback& on_chunk) override {
    if (!agreement_.stream) return AsStream(Call(request), on_chunk);
    StdioCall call(*channel_, agreement_, ++last_id_, request, &on_chunk);
    Run(call, request.deadline);
    CallOutcome<Value> outcome = call.TakeOutcome();
    if (!outcome.result) return {Fail(std::move(outcome.result.error())), outcome.after};
    return {call.chunks(), outcome.after};
  }

  void CallAsync(const CallRequest& request,
                 std::function<void(CallOutcome<Value>)> done) override {
    auto call = std::make_shared<StdioCall>(*channel_, agreement_, ++last_id_, request, nullptr);
    if (!call->Begin()) return done(call->TakeOutcome());
    RunAsync(
        io_, call, channel_, request.deadline,
        [self = shared_from_this(), call, done = std::move(done)] { done(call->TakeOutcome()); });
  }

  const Agreement& agreement() const override { return agreement_; }

  void CheckHealth(SteadyTime, std::function<void(Result<WorkerHealth>)> done) override {
    done(Fail(ErrorCode::kUnimplemented, ""));
  }

  void EndSession(const std::string&) override {}

  // EOF on its stdin. PROTOCOL.md 1.
  void AskToEnd() override { channel_->EndInput(); }
  void Abort() override { channel_->Abort(); }

 private:
  void Run(StdioCall& call, SteadyTime deadline) {
    if (call.Begin()) RunBlocking(call, *channel_, wait_, deadline);
  }

  asio::io_context& io_;
  const std::shared_ptr<FrameChannel> channel_;
  const Agreement agreement_;
  uint64_t last_id_ = 0;
  AdaptiveWait wait_;
};

// Waits for the answer to the opening frame.
class OfferConversation : public Conversation {
 public:
  explicit OfferConversation(Offer offer) : offer_(std::move(offer)) {}

  bool OnPayload(std::string_view payload) override {
    result_ = DecodeOfferReply(payload, offer_);
    return true;
  }

  void OnFailure(Failure failure, Error error) override {
    if (failure != Failure::kDeadline) {
      result_ = Fail(std::move(error));
      return;
    }
    result_ = Fail(ErrorCode::kStartTimeout,
                   "the worker did not answer the handshake (one that knows none is to be used "
                   "with a fixed codec)");
  }

  Result<Agreement> TakeResult() { return std::move(result_); }

 private:
  const Offer offer_;
  Result<Agreement> result_ = Agreement{};
};

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
    connection_->CallAsync(
        {.command = "ping", .args = &args_, .session_id = {}, .deadline = deadline},
        [self = shared_from_this()](CallOutcome<Value> outcome) {
          self->ready_(self->Judge(std::move(outcome.result)));
        });
  }

 private:
  Result<std::shared_ptr<Connection>> Judge(Result<Value> reply) {
    if (reply && reply->TextAt("status") == "ok") return std::move(connection_);
    if (reply) {
      return Fail(ErrorCode::kStartFailed,
                  "the first ping was not answered with status \"ok\" but with " + reply->ToJson());
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
                  const StdioTransport& options, const std::string& worker_id, SteadyTime deadline,
                  std::function<void(Result<std::shared_ptr<Connection>>)> ready) {
  auto send_ping = [&io, channel, worker_id, deadline](Agreement agreement,
                                                       FirstPing::ReadyCallback ready) {
    auto connection = std::make_shared<StdioConnection>(io, channel, std::move(agreement));
    std::make_shared<FirstPing>(std::move(connection), worker_id, std::move(ready))->Send(deadline);
  };
  if (!options.negotiate) {
    return send_ping(Agreement{.codec = options.codecs.front()}, std::move(ready));
  }
  Offer offer{.codecs = options.codecs};
  EncodeOfferFrame(offer, &channel->outgoing());
  auto conversation = std::make_shared<OfferConversation>(std::move(offer));
  RunAsync(io, conversation, channel, deadline,
           [conversation, send_ping, ready = std::move(ready)]() mutable {
             Result<Agreement> agreement = conversation->TakeResult();
             if (!agreement) return ready(Fail(std::move(agreement.error())));
             send_ping(std::move(*agreement), std::move(ready));
           });
}

}  // namespace snakepit
