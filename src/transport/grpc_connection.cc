#include "src/transport/grpc_connection.h"

#include <algorithm>
#include <asio/post.hpp>
#include <atomic>
#include <optional>
#include <stop_token>
#include <utility>

#include "src/transport/abandoned_calls.h"
#include "src/transport/grpc_link.h"
#include "src/transport/grpc_messages.h"

namespace snakepit {
namespace {

using Async = SnakepitBridge::StubInterface::async_interface;

// Cancels an RPC when a stop is asked for.
class CancelOnStop {
 public:
  CancelOnStop(const std::stop_token& stop, grpc::ClientContext* context) {
    if (stop.stop_possible()) callback_.emplace(stop, Cancel{context});
  }

 private:
  struct Cancel {
    void operator()() const { context->TryCancel(); }
    grpc::ClientContext* context;
  };
  std::optional<std::stop_callback<Cancel>> callback_;
};

// One name for a method with a session and without one.
grpc::Status Execute(GrpcLink::Stub& stub, grpc::ClientContext* context,
                     const ExecuteRequest& message, ExecuteResponse* response) {
  return stub.Execute(context, message, response);
}
grpc::Status Execute(GrpcLink::Stub& stub, grpc::ClientContext* context,
                     const SessionRequest& message, ExecuteResponse* response) {
  return stub.ExecuteInSession(context, message, response);
}

using Reader = grpc::ClientReader<StreamResponse>;
std::unique_ptr<Reader> ExecuteStream(GrpcLink::Stub& stub, grpc::ClientContext* context,
                                      const ExecuteRequest& message) {
  return stub.ExecuteStream(context, message);
}
std::unique_ptr<Reader> ExecuteStream(GrpcLink::Stub& stub, grpc::ClientContext* context,
                                      const SessionRequest& message) {
  return stub.ExecuteInSessionStream(context, message);
}

template <typename T>
CallOutcome<T> Lost() {
  return {Fail(ErrorCode::kWorkerLost, "the worker has ended"), AfterCall::kLost};
}

class GrpcConnection : public Connection, public std::enable_shared_from_this<GrpcConnection> {
 public:
  GrpcConnection(std::shared_ptr<GrpcLink> link, const GrpcPeer& peer, Agreement agreement)
      : link_(std::move(link)),
        agreement_(std::move(agreement)),
        max_request_bytes_(std::min(agreement_.max_frame_bytes, peer.options.max_message_bytes)),
        abandoned_(std::make_shared<AbandonedCalls>(link_, peer.cancel_grace)) {}

  const Agreement& agreement() const override { return agreement_; }

  CallOutcome<Value> Call(const CallRequest& request) override {
    return Run<Value>(request, [&](grpc::ClientContext& context, const auto& message) {
      ExecuteResponse response;
      const grpc::Status status = Execute(link_->stub(), &context, message, &response);
      return Finish(status, response, request);
    });
  }

  CallOutcome<int64_t> Stream(const CallRequest& request, const ChunkCallback& on_chunk) override {
    if (agreement_.version > 1 && !agreement_.stream) return AsStream(Call(request), on_chunk);
    return Run<int64_t>(request, [&](grpc::ClientContext& context, const auto& message) {
      const std::unique_ptr<Reader> reader = ExecuteStream(link_->stub(), &context, message);
      return ReadStream(*reader, context, request, on_chunk);
    });
  }

  void CallAsync(const CallRequest& request,
                 std::function<void(CallOutcome<Value>)> done) override {
    if (request.stop.stop_requested()) return done({Fail(NotBegun()), AfterCall::kUnsent});
    if (link_->aborted()) return done(Lost<Value>());
    const Result<void> filled = InSession(request)
                                    ? Begin<SessionRequest>(&Async::ExecuteInSession, request, done)
                                    : Begin<ExecuteRequest>(&Async::Execute, request, done);
    if (!filled) done({Fail(filled.error()), AfterCall::kUnsent});
  }

  void CheckHealth(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) override {
    link_->AskHealth(deadline, [self = shared_from_this(), done = std::move(done)](
                                   const grpc::Status& status, const HealthResponse& response) {
      done(self->HealthFrom(status, response));
    });
  }

  void EndSession(const std::string& session_id, std::function<void()> told) override {
    if (!agreement_.session) return told();
    auto rpc = link_->NewRpc<SessionRequest, ExecuteResponse>(std::chrono::steady_clock::now() +
                                                              kEndSessionTimeout);
    rpc->request.set_session_id(session_id);
    rpc->request.set_request_id(std::to_string(++last_id_));
    rpc->request.set_end_session(true);
    link_->Start(&Async::ExecuteInSession, link_->asks(), rpc,
                 [told = std::move(told)](const grpc::Status&) { told(); });
  }

  // A gRPC worker is asked by SIGTERM, which is the pool's to send. PROTOCOL.md 1.
  void AskToEnd() override {}

  void Abort() override {
    link_->Abort();
    abandoned_->Abort();
  }

 private:
  bool InSession(const CallRequest& request) const {
    return !request.session_id.empty() && (agreement_.version == 1 || agreement_.session);
  }

  template <typename Message>
  Result<void> FillIn(const CallRequest& request, uint64_t id, Message* message) const {
    return Fill(request, agreement_.version, std::to_string(id), max_request_bytes_, message);
  }

  // On the calling thread: `exchange` runs with the context and the message of the call, unless
  // that is not to begin.
  template <typename T, typename Exchange>
  CallOutcome<T> Run(const CallRequest& request, const Exchange& exchange) {
    if (request.stop.stop_requested()) return {Fail(NotBegun()), AfterCall::kUnsent};
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
      return exchange(context, message);
    };
    CallOutcome<T> outcome = InSession(request) ? run(SessionRequest()) : run(ExecuteRequest());
    if (outcome.after == AfterCall::kAbandoned) Abandon(id, request);
    return outcome;
  }

  CallOutcome<Value> Finish(const grpc::Status& status, const ExecuteResponse& response,
                            const CallRequest& request) const {
    if (status.ok()) return {DecodeResponse(response, agreement_.version)};
    if (link_->aborted()) {
      return {Fail(MayHaveRun(std::move(Lost<Value>().result.error()))), AfterCall::kLost};
    }
    StatusMeaning meaning = Judge(status, request, agreement_.version);
    return {Fail(std::move(meaning.error)), meaning.after};
  }

  // The caller has its outcome, kAbandoned: the worker's end of the call is awaited.
  void Abandon(uint64_t id, const CallRequest& request) {
    abandoned_->Add(std::to_string(id), request.released);
  }

  // PROTOCOL.md 4.5.
  CallOutcome<int64_t> ReadStream(Reader& reader, grpc::ClientContext& context,
                                  const CallRequest& request, const ChunkCallback& on_chunk) {
    StreamResponse response;
    int64_t chunks = 0;
    std::optional<Error> error;
    bool ended = false;
    // When this side ends the stream. In version 1 there is no telling when the worker is through
    // with it.
    const AfterCall given_up = agreement_.version == 1 ? AfterCall::kUsable : AfterCall::kAbandoned;
    while (!ended && !error && reader.Read(&response)) {
      ended = response.is_final();
      auto value = DecodeChunk(response, chunks, agreement_.version);
      if (!value) {
        error = std::move(value.error());
      } else if (*value) {
        const Chunk chunk{.value = std::move(**value), .index = chunks++, .final = ended};
        if (!on_chunk(chunk)) error = GivenUp(request);
      }
    }
    // Nothing is expected any more; a worker that goes on is not waited for.
    if (ended || error) context.TryCancel();
    const grpc::Status status = reader.Finish();
    if (error) return {Fail(std::move(*error)), ended ? AfterCall::kUsable : given_up};
    if (ended || status.ok()) return {chunks};
    CallOutcome<Value> outcome = Finish(status, ExecuteResponse(), request);
    return {Fail(std::move(outcome.result.error())), outcome.after};
  }

  // An asynchronous call: from its request to its outcome.
  template <typename Message>
  Result<void> Begin(GrpcLink::AsyncMethod<Message, ExecuteResponse> method,
                     const CallRequest& request,
                     const std::function<void(CallOutcome<Value>)>& done) {
    const uint64_t id = ++last_id_;
    auto rpc = link_->NewRpc<Message, ExecuteResponse>(request.deadline);
    if (auto filled = FillIn(request, id, &rpc->request); !filled) return filled;
    auto cancel = std::make_shared<std::optional<CancelOnStop>>();
    link_->Start(method, link_->calls(), rpc,
                 [self = shared_from_this(), id, rpc, cancel, request, done](grpc::Status status) {
                   cancel->reset();
                   auto outcome = self->Finish(status, rpc->response, request);
                   if (outcome.after == AfterCall::kAbandoned) self->Abandon(id, request);
                   done(std::move(outcome));
                 });
    cancel->emplace(request.stop, &rpc->context);
    return {};
  }

  Result<WorkerHealth> HealthFrom(const grpc::Status& status,
                                  const HealthResponse& response) const {
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      return Fail(ErrorCode::kDeadlineExceeded, "the worker did not answer Health in time");
    }
    if (link_->aborted() || status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      return Fail(ErrorCode::kWorkerLost, "the worker has ended");
    }
    if (!status.ok()) {
      return Fail(ErrorCode::kProtocolError, "Health failed: " + Describe(status));
    }
    return WorkerHealth{
        .healthy = response.healthy(),
        .worker_id = response.worker_id(),
        .uptime = std::chrono::milliseconds(response.uptime_ms()),
        .total_requests = response.total_requests(),
        .total_errors = response.total_errors(),
        // A worker of version 1 does not say.
        .calls_in_flight =
            agreement_.version == 1 ? link_->calls().size() : response.active_request_ids_size(),
        .version = response.version(),
    };
  }

  const std::shared_ptr<GrpcLink> link_;
  const Agreement agreement_;
  const size_t max_request_bytes_;
  const std::shared_ptr<AbandonedCalls> abandoned_;
  std::atomic<uint64_t> last_id_ = 0;
};

// From a channel to a connection.
class Handshake : public std::enable_shared_from_this<Handshake> {
 public:
  using ReadyCallback = std::function<void(Result<std::shared_ptr<Connection>>)>;

  Handshake(asio::io_context& io, const GrpcPeer& peer, SteadyTime deadline, ReadyCallback ready)
      : peer_(peer),
        link_(std::make_shared<GrpcLink>(io, peer)),
        deadline_(deadline),
        ready_(std::move(ready)) {}

  void Begin() {
    auto rpc = link_->NewRpc<HealthRequest, HealthResponse>(deadline_);
    rpc->context.set_wait_for_ready(true);
    rpc->request.set_worker_id(peer_.worker_id);
    link_->Start(&Async::Health, contexts_, rpc,
                 [self = shared_from_this(), rpc](const grpc::Status& status) {
                   self->OnHealth(status, rpc->response);
                 });
  }

  void Cancel() { contexts_.Abort(); }

 private:
  void OnHealth(const grpc::Status& status, const HealthResponse& response) {
    if (!status.ok()) return Failed("Health", status);
    if (!response.healthy()) {
      return ready_(Fail(ErrorCode::kStartFailed, "the worker says that it is not healthy"));
    }
    auto rpc = link_->NewRpc<InfoRequest, InfoResponse>(deadline_);
    rpc->request = MakeInfoRequest(peer_.options.max_message_bytes);
    link_->Start(&Async::GetInfo, contexts_, rpc,
                 [self = shared_from_this(), rpc](const grpc::Status& status) {
                   self->OnInfo(status, rpc->response);
                 });
  }

  void OnInfo(const grpc::Status& status, const InfoResponse& response) {
    switch (status.error_code()) {
      case grpc::StatusCode::DEADLINE_EXCEEDED:
      case grpc::StatusCode::CANCELLED:
      case grpc::StatusCode::UNAUTHENTICATED:
        return Failed("GetInfo", status);
      case grpc::StatusCode::UNAVAILABLE:
        return ready_(Fail(ErrorCode::kWorkerLost,
                           "the worker closed its connection (" + status.error_message() + ")"));
      default:
        break;
    }
    // A worker whose GetInfo fails speaks version 1. PROTOCOL.md 6.11.2.
    Result<Agreement> agreement =
        AgreementFrom(status.ok() ? response : InfoResponse(), peer_.options.max_message_bytes);
    if (!agreement) return ready_(Fail(std::move(agreement.error())));
    ready_(std::make_shared<GrpcConnection>(link_, peer_, std::move(*agreement)));
  }

  void Failed(const std::string& method, const grpc::Status& status) {
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
      return ready_(Fail(ErrorCode::kStartTimeout, "the worker did not answer " + method));
    }
    std::string text = method + " failed: " + Describe(status);
    if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) {
      text +=
          " (the worker refused the pool's token: it is to take the one that SNAKEPIT_TOKEN has in "
          "its environment, or another program listens at its address)";
    } else if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
      text += " (it serves gRPC, but not the service " +
              std::string(SnakepitBridge::service_full_name()) + " of proto/snakepit.proto)";
    }
    ready_(Fail(ErrorCode::kStartFailed, std::move(text)));
  }

  const GrpcPeer peer_;
  const std::shared_ptr<GrpcLink> link_;
  const SteadyTime deadline_;
  const ReadyCallback ready_;
  RpcContexts contexts_;
};

}  // namespace

std::function<void()> ConnectGrpc(asio::io_context& io, const GrpcPeer& peer, SteadyTime deadline,
                                  std::function<void(Result<std::shared_ptr<Connection>>)> ready) {
  auto handshake = std::make_shared<Handshake>(io, peer, deadline, std::move(ready));
  handshake->Begin();
  return [handshake] { handshake->Cancel(); };
}

}  // namespace snakepit
