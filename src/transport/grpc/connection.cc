#include "src/transport/grpc/connection.h"

#include <algorithm>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "src/base/quote.h"
#include "src/transport/apart.h"
#include "src/transport/grpc/abandoned_calls.h"
#include "src/transport/grpc/link.h"
#include "src/transport/grpc/messages.h"
#include "src/transport/grpc/stream_rpc.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Cancels an RPC when a stop is asked for.
class CancelOnStop {
 public:
  CancelOnStop(const std::stop_token& stop, grpc::ClientContext* context)
      : callback_(stop, Cancel{context}) {}

 private:
  struct Cancel {
    void operator()() const { context->TryCancel(); }
    grpc::ClientContext* context;
  };
  const std::stop_callback<Cancel> callback_;
};

// The methods for a call with a session and for one without.
const auto& ExecuteFor(const GrpcService& service, const ExecuteRequest&) {
  return service.execute;
}
const auto& ExecuteFor(const GrpcService& service, const SessionRequest&) {
  return service.execute_in_session;
}
const auto& StreamFor(const GrpcService& service, const ExecuteRequest&) {
  return service.execute_stream;
}
const auto& StreamFor(const GrpcService& service, const SessionRequest&) {
  return service.execute_in_session_stream;
}

using Reply = GrpcReply<ExecuteResponse>;
using Reader = grpc::ClientReader<GrpcReply<StreamResponse>>;

// Before a call, or the question for GetInfo, is sent again that the worker has refused as busy:
// the wait doubles from the first to the last. It is mostly something of the pool's own, a health
// check say, that the worker is about to be through with.
constexpr milliseconds kFirstBusyWait{1};
constexpr milliseconds kLastBusyWait{50};
// Likewise before the end of a session is told again.
constexpr milliseconds kTellWait{10};

// As Judge and Unsent say it.
template <typename T>
bool IsRefused(const CallOutcome<T>& outcome) {
  return !outcome.result && outcome.after == AfterCall::kUnsent &&
         outcome.result.error().code == ErrorCode::kUnavailable;
}

template <typename T>
CallOutcome<T> RefusedToTheEnd(CallOutcome<T> refused) {
  refused.result.error().code = ErrorCode::kDeadlineExceeded;
  refused.result.error().message += ", until its deadline passed";
  return refused;
}

// Returns when it is so late, or a stop is asked for.
void PauseUntil(SteadyTime end, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_until(lock, stop, end, [] { return false; });
}

// What the messages of a stream have come to so far. PROTOCOL.md 4.5.
struct StreamState {
  int64_t chunks = 0;
  bool ended = false;          // by its final message
  std::optional<Error> error;  // this side ends it

  bool is_over() const { return ended || error.has_value(); }
};

template <typename T>
CallOutcome<T> Lost() {
  return {Fail(ErrorCode::kWorkerLost, "the worker has ended"), AfterCall::kLost};
}

// The call is to be sent again, on another connection.
template <typename T>
CallOutcome<T> Unsent() {
  return {Fail(ErrorCode::kUnavailable,
               "the connection to the worker ended before the call was sent, and is made anew"),
          AfterCall::kUnsent};
}

// Of GrpcLink::Wire.
template <typename T>
CallOutcome<T> WithoutWire(Error error) {
  if (error.code != ErrorCode::kWorkerLost) return Unsent<T>();
  return {Fail(std::move(error)), AfterCall::kLost};
}

// An asynchronous call, or stream, from its request to its outcome.
template <typename T>
struct AsyncCall {
  AsyncCall(const CallRequest& request, ChunkCallback on_chunk,
            std::function<void(CallOutcome<T>)> done)
      : request(request), on_chunk(std::move(on_chunk)), done(std::move(done)) {}

  const CallRequest request;
  const ChunkCallback on_chunk;  // of a stream
  const std::function<void(CallOutcome<T>)> done;
  milliseconds wait = kFirstBusyWait;  // before it is sent again, where it is refused as busy
  uint64_t id = 0;                     // with which it was sent last
  std::optional<CancelOnStop> cancel;
  StreamState stream;
};
template <typename T>
using AsyncCallPtr = std::shared_ptr<AsyncCall<T>>;

class GrpcConnection : public Connection, public std::enable_shared_from_this<GrpcConnection> {
 public:
  GrpcConnection(std::shared_ptr<GrpcLink> link, const GrpcPeer& peer, Agreement agreement)
      : link_(std::move(link)),
        agreement_(std::move(agreement)),
        max_request_bytes_(std::min(agreement_.max_frame_bytes, peer.options.max_message_bytes)),
        max_decoded_bytes_(peer.max_decoded_bytes),
        abandoned_(std::make_shared<AbandonedCalls>(link_, peer.cancel_grace)) {}

  const Agreement& agreement() const override { return agreement_; }

  CallOutcome<Value> Call(const CallRequest& request) override {
    return Run<Value>(request,
                      [&](GrpcWire& wire, grpc::ClientContext& context, const auto& message) {
                        Reply reply;
                        const grpc::Status status =
                            ExecuteFor(wire.service(), message).Call(&context, message, &reply);
                        return status.ok() ? Decode(reply, request) : Failed(wire, status, request);
                      });
  }

  CallOutcome<int64_t> Stream(const CallRequest& request, const ChunkCallback& on_chunk) override {
    if (agreement_.version > 1 && !agreement_.stream) return AsStream(Call(request), on_chunk);
    return Run<int64_t>(request,
                        [&](GrpcWire& wire, grpc::ClientContext& context, const auto& message) {
                          const std::unique_ptr<Reader> reader =
                              StreamFor(wire.service(), message).Stream(&context, message);
                          return ReadStream(wire, *reader, context, request, on_chunk);
                        });
  }

  void CallAsync(const CallRequest& request,
                 std::function<void(CallOutcome<Value>)> done) override {
    Send(std::make_shared<AsyncCall<Value>>(request, nullptr, std::move(done)));
  }

  void StreamAsync(const CallRequest& request, ChunkCallback on_chunk,
                   std::function<void(CallOutcome<int64_t>)> done) override {
    if (agreement_.version > 1 && !agreement_.stream) {
      return CallAsync(request, [on_chunk = std::move(on_chunk),
                                 done = std::move(done)](CallOutcome<Value> outcome) {
        done(AsStream(std::move(outcome), on_chunk));
      });
    }
    Send(std::make_shared<AsyncCall<int64_t>>(request, std::move(on_chunk), std::move(done)));
  }

  void CheckHealth(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) override {
    link_->AskHealth(deadline, [self = shared_from_this(), deadline, before = replies_.load(),
                                done = std::move(done)](const GrpcLink::HealthAnswer& answer) {
      if (answer.status.ok()) return done(self->HealthFrom(answer.reply));
      if (self->link_->aborted()) return done(Fail(ErrorCode::kWorkerLost, "the worker has ended"));
      if (IsDeadlineOf(answer.status, deadline)) return done(self->Unanswered(before));
      done(Fail(JudgeHealth(answer.status, answer.end == RpcEnd::kLost)));
    });
  }

  void EndSession(const std::string& session_id, std::function<void()> told) override {
    if (!agreement_.session) return told();
    TellEnd(session_id, steady_clock::now() + kEndSessionTimeout, told);
  }

  // A gRPC worker is asked by SIGTERM, which is the pool's to send. PROTOCOL.md 1.
  void AskToEnd() override {}

  void Abort() override {
    link_->Abort();
    abandoned_->Abort();
  }

 private:
  // Again where the connection has ended, or the worker is too busy: a session that it does not
  // know any more does no harm.
  void TellEnd(const std::string& session_id, SteadyTime until, const std::function<void()>& told) {
    const auto wire = link_->Wire();
    if (!wire) return TellEndLater(session_id, until, told);
    auto rpc = link_->NewRpc<SessionRequest, ExecuteResponse>(*wire, until);
    rpc->request.set_session_id(session_id);
    rpc->request.set_request_id(std::to_string(++last_id_));
    rpc->request.set_end_session(true);
    link_->Start(
        (*wire)->service().execute_in_session, link_->asks(), rpc,
        [self = shared_from_this(), rpc, session_id, until, told](const grpc::Status& status) {
          if (status.ok() || self->link_->aborted()) return told();
          if (IsRefusedAsBusy(status)) {
            return self->TellEndLater(session_id, until, told);
          }
          self->link_->FindEnd(rpc->wire, status, [self, session_id, until, told](RpcEnd end) {
            if (end == RpcEnd::kAnswered) return told();
            self->TellEndLater(session_id, until, told);
          });
        });
  }

  void TellEndLater(const std::string& session_id, SteadyTime until,
                    const std::function<void()>& told) {
    const auto wait = std::min(steady_clock::now() + kTellWait, until);
    auto timer = std::make_shared<asio::steady_timer>(link_->io(), wait);
    timer->async_wait(
        [self = shared_from_this(), timer, session_id, until, told](asio::error_code) {
          if (self->link_->aborted() || steady_clock::now() >= until) return told();
          self->TellEnd(session_id, until, told);
        });
  }

  bool InSession(const CallRequest& request) const {
    return !request.session_id.empty() && (agreement_.version == 1 || agreement_.session);
  }

  template <typename Message>
  Result<void> FillIn(const CallRequest& request, uint64_t id, Message* message) const {
    return Fill(request, agreement_.version, std::to_string(id), max_request_bytes_, message);
  }

  // On the calling thread. A call that the worker refuses as busy, unexecuted, or that found the
  // connection ended, is sent again.
  template <typename T, typename Exchange>
  CallOutcome<T> Run(const CallRequest& request, const Exchange& exchange) {
    for (auto wait = kFirstBusyWait;; wait = std::min(2 * wait, kLastBusyWait)) {
      CallOutcome<T> outcome = RunOnce<T>(request, exchange);
      if (!IsRefused(outcome)) return outcome;
      PauseUntil(std::min(steady_clock::now() + wait, request.deadline), request.stop);
      if (steady_clock::now() >= request.deadline) return RefusedToTheEnd(std::move(outcome));
    }
  }

  // `exchange` runs with the connection, the context and the message of the call, unless that is
  // not to begin.
  template <typename T, typename Exchange>
  CallOutcome<T> RunOnce(const CallRequest& request, const Exchange& exchange) {
    if (request.stop.stop_requested()) return {Fail(NotBegun()), AfterCall::kUnsent};
    // First: the arguments are not to be encoded again and again while it is made anew.
    auto wire = link_->Wire();
    if (!wire) return WithoutWire<T>(std::move(wire.error()));
    const uint64_t id = ++last_id_;
    const auto run = [&](auto message) -> CallOutcome<T> {
      if (auto filled = FillIn(request, id, &message); !filled) {
        return {Fail(std::move(filled.error())), AfterCall::kUnsent};
      }
      grpc::ClientContext context;
      link_->SetUp(&context, request.deadline);
      const RpcContexts::Entry entry(link_->calls(), &context);
      if (!entry.added()) return Lost<T>();
      const CancelOnStop cancel(request.stop, &context);
      return exchange(**wire, context, message);
    };
    CallOutcome<T> outcome = InSession(request) ? run(SessionRequest()) : run(ExecuteRequest());
    if (outcome.after == AfterCall::kAbandoned) Abandon(id, request);
    return outcome;
  }

  DecodeLimits LimitsOf(const CallRequest& request) const {
    return {.max_bytes = max_decoded_bytes_, .deadline = request.deadline, .stop = request.stop};
  }

  // Of an RPC that ended with OK.
  CallOutcome<Value> Decode(const Reply& reply, const CallRequest& request) {
    CountReply();
    if (auto readable = reply.Check(); !readable) return {Fail(std::move(readable.error()))};
    return {DecodeResponse(reply.message, agreement_.version, LimitsOf(request))};
  }

  // Of any other.
  CallOutcome<Value> Failed(const grpc::Status& status, RpcEnd end, const CallRequest& request) {
    if (link_->aborted()) {
      return {Fail(MayHaveRun(std::move(Lost<Value>().result.error()))), AfterCall::kLost};
    }
    if (end == RpcEnd::kUnsent) return Unsent<Value>();
    CountReply();
    StatusMeaning meaning = Judge(status, end == RpcEnd::kLost, request, agreement_.version);
    return {Fail(std::move(meaning.error)), meaning.after};
  }

  bool IsCancelledHere(const CallRequest& request) const {
    return link_->aborted() || request.stop.stop_requested();
  }

  // On a thread that waits for its call.
  CallOutcome<Value> Failed(GrpcWire& wire, const grpc::Status& status,
                            const CallRequest& request) {
    return Failed(status, EndOf(wire, status, request), request);
  }

  RpcEnd EndOf(GrpcWire& wire, const grpc::Status& status, const CallRequest& request) {
    return IsCancelledHere(request) ? RpcEnd::kAnswered : link_->AwaitEnd(wire, status);
  }

  // The caller has its outcome, kAbandoned: the worker's end of the call is awaited.
  void Abandon(uint64_t id, const CallRequest& request) {
    abandoned_->Add(std::to_string(id), request.released);
  }

  CallOutcome<int64_t> ReadStream(GrpcWire& wire, Reader& reader, grpc::ClientContext& context,
                                  const CallRequest& request, const ChunkCallback& on_chunk) {
    GrpcReply<StreamResponse> reply;
    StreamState stream;
    while (!stream.is_over() && reader.Read(&reply)) {
      CountReply();
      Take(stream, reply, DecodeMessage(stream, reply, request), request, on_chunk);
    }
    // Nothing is expected any more; a worker that goes on is not waited for.
    if (stream.is_over()) context.TryCancel();
    const grpc::Status status = reader.Finish();
    const bool is_clear = stream.is_over() || status.ok();
    return StreamOutcome(std::move(stream), status,
                         is_clear ? RpcEnd::kAnswered : EndOf(wire, status, request), request);
  }

  // The chunk of a message that has come, if it holds one.
  Result<std::optional<Value>> DecodeMessage(const StreamState& stream,
                                             const GrpcReply<StreamResponse>& reply,
                                             const CallRequest& request) const {
    return reply.Check().and_then([&] {
      return DecodeChunk(reply.message, stream.chunks, agreement_.version, LimitsOf(request));
    });
  }

  void Take(StreamState& stream, const GrpcReply<StreamResponse>& reply,
            Result<std::optional<Value>> value, const CallRequest& request,
            const ChunkCallback& on_chunk) const {
    stream.ended = reply.unreadable.empty() && reply.message.is_final();
    if (!value) {
      stream.error = std::move(value.error());
    } else if (*value) {
      const Chunk chunk{
          .value = std::move(**value), .index = stream.chunks++, .final = stream.ended};
      if (!on_chunk(chunk)) stream.error = GivenUp(request);
    }
  }

  // `end` counts where neither side has ended the stream by a message.
  CallOutcome<int64_t> StreamOutcome(StreamState stream, const grpc::Status& status, RpcEnd end,
                                     const CallRequest& request) {
    if (stream.error) {
      // In version 1 there is no telling when the worker is through with it.
      const bool is_through = stream.ended || agreement_.version == 1;
      return {Fail(std::move(*stream.error)),
              is_through ? AfterCall::kUsable : AfterCall::kAbandoned};
    }
    if (stream.ended || (status.ok() && agreement_.version == 1)) return {stream.chunks};
    if (status.ok()) {
      return {Fail(MayHaveRun({.code = ErrorCode::kProtocolError,
                               .message = "the worker ended the stream with the gRPC status OK and "
                                          "without a final message"}))};
    }
    // The worker has begun with it, whatever the text of the status is.
    if (end == RpcEnd::kUnsent && stream.chunks > 0) end = RpcEnd::kLost;
    CallOutcome<Value> outcome = Failed(status, end, request);
    return {Fail(std::move(outcome.result.error())), outcome.after};
  }

  // --- Asynchronous calls ------------------------------------------------------------------------

  template <typename T>
  void Send(const AsyncCallPtr<T>& call) {
    const CallRequest& request = call->request;
    if (request.stop.stop_requested()) return call->done({Fail(NotBegun()), AfterCall::kUnsent});
    if (link_->aborted()) return call->done(Lost<T>());
    auto wire = link_->Wire();
    if (!wire) return EndOrSendLater(call, WithoutWire<T>(std::move(wire.error())));
    call->id = ++last_id_;
    const Result<void> begun = InSession(request) ? Begin<SessionRequest>(call, std::move(*wire))
                                                  : Begin<ExecuteRequest>(call, std::move(*wire));
    if (!begun) call->done({Fail(begun.error()), AfterCall::kUnsent});
  }

  template <typename Message>
  Result<void> Begin(const AsyncCallPtr<Value>& call, std::shared_ptr<GrpcWire> wire) {
    const auto& service = wire->service();
    auto rpc = link_->NewRpc<Message, ExecuteResponse>(std::move(wire), call->request.deadline);
    if (auto filled = FillIn(call->request, call->id, &rpc->request); !filled) return filled;
    link_->Start(ExecuteFor(service, rpc->request), link_->calls(), rpc,
                 [self = shared_from_this(), rpc, call](const grpc::Status& status) {
                   call->cancel.reset();
                   if (!status.ok()) return self->FailAsync(call, rpc->wire, status);
                   self->DecodeAsync(call, rpc);
                 });
    call->cancel.emplace(call->request.stop, &rpc->context);
    return {};
  }

  template <typename Message>
  Result<void> Begin(const AsyncCallPtr<int64_t>& call, std::shared_ptr<GrpcWire> wire) {
    using Rpc = GrpcStreamRpc<Message>;
    call->stream = {};
    const auto& service = wire->service();
    auto rpc = std::make_shared<Rpc>(link_->io(), std::move(wire));
    link_->SetUp(&rpc->context, call->request.deadline);
    if (auto filled = FillIn(call->request, call->id, &rpc->request); !filled) return filled;
    rpc->Start(
        StreamFor(service, rpc->request), link_->calls(),
        [self = shared_from_this(), call](Rpc& rpc) { self->OnMessage(call, rpc); },
        [self = shared_from_this(), call](Rpc& rpc, const grpc::Status& status) {
          call->cancel.reset();
          self->EndStream(call, rpc.wire(), status);
        });
    call->cancel.emplace(call->request.stop, &rpc->context);
    return {};
  }

  // Throws nothing: no thread waits for the call.
  template <typename Decoding>
  auto DecodeOrFail(const Decoding& decode) const -> decltype(decode()) {
    try {
      return decode();
    } catch (const std::exception& error) {  // there is no memory, say
      return {
          Fail(MayHaveRun({.code = ErrorCode::kInternal,
                           .message = std::string("the reply cannot be read: ") + error.what()}))};
    }
  }

  // Gives what `decode` returns to `done`. A large reply is decoded apart.
  template <typename Message, typename Decoding, typename Done>
  void DecodeAsync(const GrpcReply<Message>& reply, Decoding decode, Done done) {
    if (reply.message.ByteSizeLong() <= kLargeMessage) return done(DecodeOrFail(decode));
    const auto decoded = std::make_shared<std::optional<decltype(decode())>>();
    RunApart(
        link_->io(),
        [self = shared_from_this(), decoded, decode] { *decoded = self->DecodeOrFail(decode); },
        [decoded, done] { done(std::move(**decoded)); });
  }

  template <typename Rpc>
  void DecodeAsync(const AsyncCallPtr<Value>& call, const std::shared_ptr<Rpc>& rpc) {
    DecodeAsync(
        rpc->reply,
        [self = shared_from_this(), call, rpc] { return self->Decode(rpc->reply, call->request); },
        [call](CallOutcome<Value> outcome) { call->done(std::move(outcome)); });
  }

  template <typename Rpc>
  void OnMessage(const AsyncCallPtr<int64_t>& call, Rpc& rpc) {
    CountReply();
    DecodeAsync(
        rpc.reply(),
        [self = shared_from_this(), call, rpc = rpc.shared_from_this()] {
          return self->DecodeMessage(call->stream, rpc->reply(), call->request);
        },
        [self = shared_from_this(), call,
         rpc = rpc.shared_from_this()](Result<std::optional<Value>> value) {
          self->Take(call->stream, rpc->reply(), std::move(value), call->request, call->on_chunk);
          if (call->stream.is_over()) return rpc->GiveUp();
          rpc->ReadNext();
        });
  }

  void EndStream(const AsyncCallPtr<int64_t>& call, const std::shared_ptr<GrpcWire>& wire,
                 const grpc::Status& status) {
    const auto ended = [self = shared_from_this(), call, status](RpcEnd end) {
      self->End(call, self->StreamOutcome(std::move(call->stream), status, end, call->request));
    };
    if (call->stream.is_over() || status.ok() || IsCancelledHere(call->request)) {
      return ended(RpcEnd::kAnswered);
    }
    link_->FindEnd(wire, status, ended);
  }

  void FailAsync(const AsyncCallPtr<Value>& call, const std::shared_ptr<GrpcWire>& wire,
                 const grpc::Status& status) {
    const auto ended = [self = shared_from_this(), call, status](RpcEnd end) {
      self->End(call, self->Failed(status, end, call->request));
    };
    if (IsCancelledHere(call->request)) return ended(RpcEnd::kAnswered);
    link_->FindEnd(wire, status, ended);
  }

  template <typename T>
  void End(const AsyncCallPtr<T>& call, CallOutcome<T> outcome) {
    if (outcome.after == AfterCall::kAbandoned) Abandon(call->id, call->request);
    EndOrSendLater(call, std::move(outcome));
  }

  template <typename T>
  void EndOrSendLater(const AsyncCallPtr<T>& call, CallOutcome<T> outcome) {
    if (!IsRefused(outcome)) return call->done(std::move(outcome));
    auto timer = std::make_shared<asio::steady_timer>(
        link_->io(), std::min(steady_clock::now() + call->wait, call->request.deadline));
    call->wait = std::min(2 * call->wait, kLastBusyWait);
    timer->async_wait([self = shared_from_this(), timer, call,
                       refused = std::move(outcome)](asio::error_code) mutable {
      if (steady_clock::now() >= call->request.deadline) {
        return call->done(RefusedToTheEnd(std::move(refused)));
      }
      self->Send(call);
    });
  }

  // Something that a call has given: the worker lives.
  void CountReply() {
    replies_.fetch_add(1, std::memory_order_relaxed);
    link_->SetAnswered();
  }

  // Health, asked when `before` replies had come, was not answered in time.
  Result<WorkerHealth> Unanswered(uint64_t before) const {
    if (replies_ != before) return Fail(ErrorCode::kUnavailable, kBusyWithCalls);
    return Fail(ErrorCode::kDeadlineExceeded, "the worker did not answer Health in time");
  }

  Result<WorkerHealth> HealthFrom(const GrpcReply<HealthResponse>& reply) const {
    if (auto readable = reply.Check(); !readable) {
      return Fail(ErrorCode::kProtocolError, "Health: " + readable.error().message);
    }
    const HealthResponse& response = reply.message;
    return WorkerHealth{
        .healthy = response.healthy(),
        .worker_id = Excerpt(response.worker_id(), kMostNameBytes),
        .uptime = std::chrono::milliseconds(response.uptime_ms()),
        .total_requests = response.total_requests(),
        .total_errors = response.total_errors(),
        // A worker of version 1 does not say.
        .calls_in_flight =
            agreement_.version == 1 ? link_->calls().size() : response.active_request_ids_size(),
        .version = Excerpt(response.version(), kMostNameBytes),
    };
  }

  const std::shared_ptr<GrpcLink> link_;
  const Agreement agreement_;
  const size_t max_request_bytes_;
  const size_t max_decoded_bytes_;
  const std::shared_ptr<AbandonedCalls> abandoned_;
  std::atomic<uint64_t> last_id_ = 0;
  std::atomic<uint64_t> replies_ = 0;  // chunks, and ends of calls
};

// What gRPC says of an answer that has another HTTP status than 200, and of one that has no status
// of gRPC.
bool IsFromNoGrpcServer(const grpc::Status& status) {
  return status.error_message().starts_with("Received http2 header with status:") ||
         status.error_message() == "No status received" ||
         status.error_message() == "Stream removed";
}

// While a worker starts, which sends a few hundred bytes then: so often it is looked at how many of
// them are waiting to be read, and so many are allowed in all looks together.
constexpr milliseconds kFloodLook{10};
constexpr size_t kMaxUnreadBytes = 1 << 20;

// From a channel to a connection.
class Handshake : public std::enable_shared_from_this<Handshake> {
 public:
  using ReadyCallback = std::function<void(Result<std::shared_ptr<Connection>>)>;

  Handshake(asio::io_context& io, const GrpcPeer& peer, std::shared_ptr<GrpcWire> wire,
            SteadyTime deadline, ReadyCallback ready)
      : peer_(peer),
        link_(std::make_shared<GrpcLink>(io, peer, wire)),
        wire_(std::move(wire)),
        deadline_(deadline),
        ready_(std::move(ready)),
        watch_(io) {}

  void Begin() {
    WatchForFlood();
    auto rpc = link_->NewRpc<HealthRequest, HealthResponse>(wire_, deadline_);
    rpc->request.set_worker_id(peer_.worker_id);
    link_->Start(wire_->service().health, contexts_, rpc,
                 [self = shared_from_this(), rpc](const grpc::Status& status) {
                   self->OnHealth(status, rpc->reply);
                 });
  }

  void Cancel() { contexts_.Abort(); }

 private:
  // Until it is ready: gRPC grows with what a peer sends that answers nothing.
  void WatchForFlood() {
    watch_.expires_after(kFloodLook);
    watch_.async_wait([self = shared_from_this()](asio::error_code error) {
      if (error || self->is_through_) return;
      self->unread_bytes_ += self->wire_->UnreadBytes();
      if (self->unread_bytes_ <= kMaxUnreadBytes) return self->WatchForFlood();
      self->is_flooded_ = true;
      self->wire_->Close();
    });
  }

  void End(Result<std::shared_ptr<Connection>> result) {
    is_through_ = true;
    watch_.cancel();
    // Who may cancel the start keeps this for as long as the worker lives.
    wire_.reset();
    link_.reset();
    ready_(std::move(result));
  }

  void OnHealth(const grpc::Status& status, const GrpcReply<HealthResponse>& reply) {
    if (!status.ok()) return Failed("Health", status);
    if (auto readable = reply.Check(); !readable) return Unreadable("Health", readable.error());
    if (!reply.message.healthy()) {
      return End(Fail(ErrorCode::kStartFailed, "the worker says that it is not healthy"));
    }
    AskInfo();
  }

  void AskInfo() {
    auto rpc = link_->NewRpc<InfoRequest, InfoResponse>(wire_, deadline_);
    rpc->request = MakeInfoRequest(peer_.options.max_message_bytes);
    link_->Start(wire_->service().get_info, contexts_, rpc,
                 [self = shared_from_this(), rpc](const grpc::Status& status) {
                   if (status.ok()) return self->OnInfo(rpc->reply);
                   self->link_->FindEnd(self->wire_, status, [self, status](RpcEnd end) {
                     self->OnNoInfo(status, end != RpcEnd::kAnswered);
                   });
                 });
  }

  void OnInfo(const GrpcReply<InfoResponse>& reply) {
    if (auto readable = reply.Check(); !readable) return Unreadable("GetInfo", readable.error());
    Agree(reply.message);
  }

  void OnNoInfo(const grpc::Status& status, bool is_loss) {
    if (is_flooded_) return Failed("GetInfo", status);
    // It may not have noticed yet that Health is through. This is no answer.
    if (IsRefusedAsBusy(status)) {
      auto timer = std::make_shared<asio::steady_timer>(link_->io(), kLastBusyWait);
      return timer->async_wait(
          [self = shared_from_this(), timer](asio::error_code) { self->AskInfo(); });
    }
    switch (status.error_code()) {
      case grpc::StatusCode::DEADLINE_EXCEEDED:
      case grpc::StatusCode::CANCELLED:
      case grpc::StatusCode::UNAUTHENTICATED:
        return Failed("GetInfo", status);
      case grpc::StatusCode::UNAVAILABLE:
        if (!is_loss) break;
        return End(Fail(ErrorCode::kWorkerLost,
                        "the worker closed its connection (" +
                            Excerpt(status.error_message(), kMostErrorTextBytes) + ")"));
      default:
        break;
    }
    // A worker whose GetInfo fails speaks version 1. PROTOCOL.md 6.11.2.
    Agree(InfoResponse());
  }

  void Agree(const InfoResponse& response) {
    Result<Agreement> agreement = AgreementFrom(response, peer_.options.max_message_bytes);
    if (!agreement) return End(Fail(std::move(agreement.error())));
    End(std::make_shared<GrpcConnection>(link_, peer_, std::move(*agreement)));
  }

  void Unreadable(const std::string& method, const Error& error) {
    End(Fail(ErrorCode::kProtocolError, method + ": " + error.message));
  }

  void Failed(const std::string& method, const grpc::Status& status) {
    if (is_flooded_) {
      return End(Fail(ErrorCode::kStartFailed,
                      "the worker sends and sends, and does not answer " + method));
    }
    if (IsDeadlineOf(status, deadline_)) {
      return End(Fail(ErrorCode::kStartTimeout, "the worker did not answer " + method));
    }
    std::string text = method + " failed: " + Describe(status);
    if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
      text +=
          " (the worker refused the pool's token: it is to take the one that SNAKEPIT_TOKEN has in "
          "its environment, or another program listens at its address)";
    } else if (IsFromNoGrpcServer(status)) {
      text += " (it speaks HTTP/2, but does not answer as gRPC does)";
    } else if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
      text +=
          " (it serves gRPC, but not the service snakepit.SnakepitBridge of proto/snakepit.proto)";
    }
    End(Fail(ErrorCode::kStartFailed, std::move(text)));
  }

  const GrpcPeer peer_;
  std::shared_ptr<GrpcLink> link_;  // these two until it is through
  std::shared_ptr<GrpcWire> wire_;
  const SteadyTime deadline_;
  const ReadyCallback ready_;
  asio::steady_timer watch_;
  size_t unread_bytes_ = 0;  // in all looks
  bool is_flooded_ = false;
  bool is_through_ = false;
  RpcContexts contexts_;
};

}  // namespace

std::function<void()> ConnectGrpc(asio::io_context& io, const GrpcPeer& peer, UniqueFd connected,
                                  SteadyTime deadline,
                                  std::function<void(Result<std::shared_ptr<Connection>>)> ready) {
  auto wire = GrpcWire::On(std::move(connected), peer);
  if (!wire) {
    asio::post(io, [ready = std::move(ready), error = wire.error()] { ready(Fail(error)); });
    return [] {};
  }
  auto handshake =
      std::make_shared<Handshake>(io, peer, std::move(*wire), deadline, std::move(ready));
  handshake->Begin();
  return [handshake] { handshake->Cancel(); };
}

}  // namespace snakepit
