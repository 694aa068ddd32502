#include "src/transport/grpc/handshake.h"

#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <string>
#include <utility>

#include "src/base/quote.h"
#include "src/transport/grpc/connection.h"
#include "src/transport/grpc/link.h"
#include "src/transport/grpc/messages.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

// The wait before GetInfo is asked again, where the worker has refused it as busy.
constexpr milliseconds kBusyWait{50};

// gRPC's own texts for an answer with another HTTP status than 200, and for one without a status of
// gRPC.
bool IsFromNoGrpcServer(const grpc::Status& status) {
  return status.error_message().starts_with("Received http2 header with status:") ||
         status.error_message() == "No status received" ||
         status.error_message() == "Stream removed";
}

// A worker that starts sends a few hundred bytes. The bytes that wait to be read are counted at
// this interval; this many are allowed in all looks together.
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
    // The function that cancels the start keeps this for as long as the worker lives.
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
      auto timer = std::make_shared<asio::steady_timer>(link_->io(), kBusyWait);
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
    End(MakeGrpcConnection(link_, peer_, std::move(*agreement)));
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
