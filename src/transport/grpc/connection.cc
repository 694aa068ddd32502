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
#include "src/transport/grpc/exchange.h"
#include "src/transport/grpc/link.h"
#include "src/transport/grpc/messages.h"
#include "src/transport/grpc/session_ends.h"
#include "src/transport/grpc/stream_rpc.h"
#include "src/transport/outcome.h"

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
const auto& ExecuteFor(const GrpcStub& service, const ExecuteRequest&) { return service.execute; }
const auto& ExecuteFor(const GrpcStub& service, const SessionRequest&) {
  return service.execute_in_session;
}
const auto& StreamFor(const GrpcStub& service, const ExecuteRequest&) {
  return service.execute_stream;
}
const auto& StreamFor(const GrpcStub& service, const SessionRequest&) {
  return service.execute_in_session_stream;
}

using Reply = GrpcReply<ExecuteResponse>;
using Reader = grpc::ClientReader<GrpcReply<StreamResponse>>;

// Before a call, or the question for GetInfo, is sent again that the worker has refused as busy:
// the wait doubles from the first to the last. It is mostly something of the pool's own, a health
// check say, that the worker is about to be through with.
constexpr milliseconds kFirstBusyWait{1};
constexpr milliseconds kLastBusyWait{50};
// True for an outcome of Judge or Unsent: the worker has run nothing of the call.
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

// An earlier session of that name has ended, and the worker is yet to be told.
template <typename T>
CallOutcome<T> SessionEnding() {
  return {Fail(ErrorCode::kUnavailable,
               "the worker could not be told that an earlier session of that name has ended"),
          AfterCall::kUnsent};
}

// The outcome for an error of GrpcLink::Wire.
template <typename T>
CallOutcome<T> WithoutWire(Error error) {
  if (error.code != ErrorCode::kWorkerLost) return GrpcExchange::Unsent<T>();
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
      : exchange_(link, peer, std::move(agreement)),
        link_(link.get()),
        ends_(std::make_shared<SessionEnds>(std::move(link))) {}

  const Agreement& agreement() const override { return exchange_.agreement(); }

  CallOutcome<Value> Call(const CallRequest& request) override {
    return Run<Value>(
        request, [&](GrpcWire& wire, grpc::ClientContext& context, const auto& message) {
          Reply reply;
          const grpc::Status status =
              ExecuteFor(wire.service(), message).Call(&context, message, &reply);
          return status.ok() ? exchange_.Decode(reply, request) : Failed(wire, status, request);
        });
  }

  CallOutcome<int64_t> Stream(const CallRequest& request, const ChunkCallback& on_chunk) override {
    if (!agreement().stream) return AsStream(Call(request), on_chunk);
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
    if (!agreement().stream) {
      return CallAsync(request, [on_chunk = std::move(on_chunk),
                                 done = std::move(done)](CallOutcome<Value> outcome) {
        done(AsStream(std::move(outcome), on_chunk));
      });
    }
    Send(std::make_shared<AsyncCall<int64_t>>(request, std::move(on_chunk), std::move(done)));
  }

  void CheckHealth(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) override {
    link_->AskHealth(deadline, [self = shared_from_this(), deadline, before = exchange_.replies(),
                                done = std::move(done)](const GrpcLink::HealthAnswer& answer) {
      if (answer.status.ok()) {
        return done(
            HealthFrom(answer.reply, self->agreement().version, self->link_->calls().size()));
      }
      if (self->link_->aborted()) return done(Fail(ErrorCode::kWorkerLost, "the worker has ended"));
      if (IsDeadlineOf(answer.status, deadline)) return done(self->Unanswered(before));
      done(Fail(JudgeHealth(answer.status, answer.end == RpcEnd::kLost)));
    });
  }

  void EndSession(const std::string& session_id) override {
    if (agreement().session) ends_->Tell(session_id);
  }

  // A gRPC worker is asked by SIGTERM, which is the pool's to send. PROTOCOL.md 1.
  void AskToEnd() override {}

  void Abort() override { exchange_.Abort(); }

 private:
  // On the calling thread. A call that the worker refuses as busy, unexecuted, or that found the
  // connection ended, is sent again.
  template <typename T, typename Exchange>
  CallOutcome<T> Run(const CallRequest& request, const Exchange& exchange) {
    for (auto wait = kFirstBusyWait;; wait = std::min(2 * wait, kLastBusyWait)) {
      if (!request.session_id.empty()) {
        ends_->Await(request.session_id, request.deadline, request.stop);
      }
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
    if (ends_->IsPending(request.session_id)) return SessionEnding<T>();
    // First: the arguments are not to be encoded again and again while it is made anew.
    auto wire = link_->Wire();
    if (!wire) return WithoutWire<T>(std::move(wire.error()));
    const uint64_t id = link_->NextId();
    const auto run = [&](auto message) -> CallOutcome<T> {
      if (auto filled = exchange_.FillIn(request, id, &message); !filled) {
        return {Fail(std::move(filled.error())), AfterCall::kUnsent};
      }
      grpc::ClientContext context;
      link_->SetUp(&context, request.deadline);
      const RpcContexts::Entry entry(link_->calls(), &context);
      if (!entry.added()) return GrpcExchange::Lost<T>();
      const CancelOnStop cancel(request.stop, &context);
      return exchange(**wire, context, message);
    };
    CallOutcome<T> outcome =
        exchange_.InSession(request) ? run(SessionRequest()) : run(ExecuteRequest());
    if (outcome.after == AfterCall::kAbandoned) exchange_.Abandon(id, request);
    return outcome;
  }

  // On a thread that waits for its call.
  CallOutcome<Value> Failed(GrpcWire& wire, const grpc::Status& status,
                            const CallRequest& request) {
    return exchange_.Failed(status, EndOf(wire, status, request), request);
  }

  RpcEnd EndOf(GrpcWire& wire, const grpc::Status& status, const CallRequest& request) {
    return exchange_.IsCancelledHere(request) ? RpcEnd::kAnswered : link_->AwaitEnd(wire, status);
  }

  CallOutcome<int64_t> ReadStream(GrpcWire& wire, Reader& reader, grpc::ClientContext& context,
                                  const CallRequest& request, const ChunkCallback& on_chunk) {
    GrpcReply<StreamResponse> reply;
    StreamState stream;
    while (!stream.is_over() && reader.Read(&reply)) {
      exchange_.CountReply();
      stream.Take(reply, exchange_.DecodeMessage(stream, reply, request), request, on_chunk);
    }
    // Nothing is expected any more; a worker that goes on is not waited for.
    if (stream.is_over()) context.TryCancel();
    const grpc::Status status = reader.Finish();
    const bool is_clear = stream.is_over() || status.ok();
    return exchange_.StreamOutcome(std::move(stream), status,
                                   is_clear ? RpcEnd::kAnswered : EndOf(wire, status, request),
                                   request);
  }

  // --- Asynchronous calls ------------------------------------------------------------------------

  template <typename T>
  void Send(const AsyncCallPtr<T>& call) {
    const CallRequest& request = call->request;
    if (request.stop.stop_requested()) return call->done({Fail(NotBegun()), AfterCall::kUnsent});
    if (link_->aborted()) return call->done(GrpcExchange::Lost<T>());
    if (ends_->IsPending(request.session_id)) return EndOrSendLater(call, SessionEnding<T>());
    auto wire = link_->Wire();
    if (!wire) return EndOrSendLater(call, WithoutWire<T>(std::move(wire.error())));
    call->id = link_->NextId();
    const Result<void> begun = exchange_.InSession(request)
                                   ? Begin<SessionRequest>(call, std::move(*wire))
                                   : Begin<ExecuteRequest>(call, std::move(*wire));
    if (!begun) call->done({Fail(begun.error()), AfterCall::kUnsent});
  }

  template <typename Message>
  Result<void> Begin(const AsyncCallPtr<Value>& call, std::shared_ptr<GrpcWire> wire) {
    const auto& service = wire->service();
    auto rpc = link_->NewRpc<Message, ExecuteResponse>(std::move(wire), call->request.deadline);
    if (auto filled = exchange_.FillIn(call->request, call->id, &rpc->request); !filled)
      return filled;
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
    if (auto filled = exchange_.FillIn(call->request, call->id, &rpc->request); !filled)
      return filled;
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
        [self = shared_from_this(), call, rpc] {
          return self->exchange_.Decode(rpc->reply, call->request);
        },
        [call](CallOutcome<Value> outcome) { call->done(std::move(outcome)); });
  }

  template <typename Rpc>
  void OnMessage(const AsyncCallPtr<int64_t>& call, Rpc& rpc) {
    exchange_.CountReply();
    DecodeAsync(
        rpc.reply(),
        [self = shared_from_this(), call, rpc = rpc.shared_from_this()] {
          return self->exchange_.DecodeMessage(call->stream, rpc->reply(), call->request);
        },
        [self = shared_from_this(), call,
         rpc = rpc.shared_from_this()](Result<std::optional<Value>> value) {
          rpc->React([&] {
            call->stream.Take(rpc->reply(), std::move(value), call->request, call->on_chunk);
          });
          if (call->stream.is_over()) return rpc->GiveUp();
          rpc->ReadNext();
        });
  }

  void EndStream(const AsyncCallPtr<int64_t>& call, const std::shared_ptr<GrpcWire>& wire,
                 const grpc::Status& status) {
    const auto ended = [self = shared_from_this(), call, status](RpcEnd end) {
      self->End(call,
                self->exchange_.StreamOutcome(std::move(call->stream), status, end, call->request));
    };
    if (call->stream.is_over() || status.ok() || exchange_.IsCancelledHere(call->request)) {
      return ended(RpcEnd::kAnswered);
    }
    link_->FindEnd(wire, status, ended);
  }

  void FailAsync(const AsyncCallPtr<Value>& call, const std::shared_ptr<GrpcWire>& wire,
                 const grpc::Status& status) {
    const auto ended = [self = shared_from_this(), call, status](RpcEnd end) {
      self->End(call, self->exchange_.Failed(status, end, call->request));
    };
    if (exchange_.IsCancelledHere(call->request)) return ended(RpcEnd::kAnswered);
    link_->FindEnd(wire, status, ended);
  }

  template <typename T>
  void End(const AsyncCallPtr<T>& call, CallOutcome<T> outcome) {
    if (outcome.after == AfterCall::kAbandoned) exchange_.Abandon(call->id, call->request);
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

  // Health, asked when `before` replies had come, was not answered in time.
  Result<WorkerHealth> Unanswered(uint64_t before) const {
    if (exchange_.replies() != before) return Fail(ErrorCode::kUnavailable, kBusyWithCalls);
    return Fail(ErrorCode::kDeadlineExceeded, "the worker did not answer Health in time");
  }

  GrpcExchange exchange_;
  GrpcLink* const link_;  // of the exchange
  const std::shared_ptr<SessionEnds> ends_;
};

}  // namespace

std::shared_ptr<Connection> MakeGrpcConnection(std::shared_ptr<GrpcLink> link, const GrpcPeer& peer,
                                               Agreement agreement) {
  return std::make_shared<GrpcConnection>(std::move(link), peer, std::move(agreement));
}

}  // namespace snakepit
