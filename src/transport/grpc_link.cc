#include "src/transport/grpc_link.h"

#include <grpc/grpc.h>

#include <asio/steady_timer.hpp>
#include <chrono>

#include "src/transport/grpc_messages.h"

namespace snakepit {
namespace {

// Keeps gRPC running until the end of the process. Else the last channel to go would shut it down,
// and with it threads that may take ten seconds to notice.
void KeepGrpcRunning() { [[maybe_unused]] static const bool kept = (grpc_init(), true); }

std::shared_ptr<grpc::Channel> MakeChannel(const GrpcPeer& peer) {
  KeepGrpcRunning();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(peer.options.max_message_bytes));
  arguments.SetMaxSendMessageSize(static_cast<int>(peer.options.max_message_bytes));
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, GrpcLink::kMaxMetadataBytes);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Else gRPC lets the worker be ahead of a reader by ever more, as it finds the channel fast: by
  // tens of MiB of a stream that nobody reads. Now it is 64 KiB, and not slower on one machine.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // Else a channel could go on with the connection of an earlier worker at the same address.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(peer.target, grpc::InsecureChannelCredentials(), arguments);
}

// How much later than an RPC the channel may learn that their connection is lost: gRPC tells both
// in one go, but each on a thread of its own. A third of the calls in flight was seen to be ahead
// of the channel, by 0.3 ms at most.
constexpr std::chrono::milliseconds kLossLag{50};
// Between two looks. The channel may be connected once more soon, by another call.
constexpr std::chrono::milliseconds kLookWait{1};

// With which an RPC ends whose connection is lost; handlers end theirs so, too. INTERNAL, and that
// text, are gRPC's own where it has given the connection up, as what came is not HTTP/2.
bool MayBeLoss(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         status.error_code() == grpc::StatusCode::CANCELLED ||
         status.error_code() == grpc::StatusCode::INTERNAL || IsOverMetadataLimit(status) ||
         status.error_message() == "Stream removed";
}

}  // namespace

bool RpcContexts::Add(grpc::ClientContext* context) {
  std::lock_guard lock(mutex_);
  if (!aborted_) contexts_.insert(context);
  return !aborted_;
}

void RpcContexts::Remove(grpc::ClientContext* context) {
  std::lock_guard lock(mutex_);
  contexts_.erase(context);
}

void RpcContexts::Abort() {
  std::lock_guard lock(mutex_);
  aborted_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
}

bool RpcContexts::aborted() const {
  std::lock_guard lock(mutex_);
  return aborted_;
}

int RpcContexts::size() const {
  std::lock_guard lock(mutex_);
  return static_cast<int>(contexts_.size());
}

GrpcLink::GrpcLink(asio::io_context& io, const GrpcPeer& peer)
    : io_(io),
      worker_id_(peer.worker_id),
      token_(peer.token),
      channel_(MakeChannel(peer)),
      service_(channel_) {}

void GrpcLink::Abort() {
  calls_.Abort();
  asks_.Abort();
}

void GrpcLink::SetUp(grpc::ClientContext* context, SteadyTime deadline) const {
  const auto left = deadline - std::chrono::steady_clock::now();
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::duration_cast<std::chrono::system_clock::duration>(left));
  context->AddMetadata("snakepit-token", token_);
}

bool GrpcLink::AwaitIsLoss(const grpc::Status& status) const {
  // Any other is the worker's own. When it is about to stop, its channel is idle already while its
  // last calls go on: its server has said GOAWAY.
  if (!MayBeLoss(status)) return false;
  if (IsConnected()) {
    channel_->WaitForStateChange(GRPC_CHANNEL_READY, std::chrono::system_clock::now() + kLossLag);
  }
  return !IsConnected();
}

void GrpcLink::IsLoss(const grpc::Status& status, std::function<void(bool)> done) {
  if (!MayBeLoss(status)) return done(false);
  LookForLoss(std::chrono::steady_clock::now() + kLossLag, std::move(done));
}

void GrpcLink::LookForLoss(SteadyTime until, std::function<void(bool)> done) {
  if (!IsConnected()) return done(true);
  if (std::chrono::steady_clock::now() >= until) return done(false);
  auto timer = std::make_shared<asio::steady_timer>(io_, kLookWait);
  timer->async_wait([self = shared_from_this(), timer, until, done = std::move(done)](
                        asio::error_code) mutable { self->LookForLoss(until, std::move(done)); });
}

void GrpcLink::AskHealth(
    SteadyTime deadline,
    std::function<void(const grpc::Status&, const GrpcReply<HealthResponse>&)> done) {
  auto rpc = NewRpc<HealthRequest, HealthResponse>(deadline);
  rpc->request.set_worker_id(worker_id_);
  Start(service_.health, asks_, rpc,
        [rpc, done = std::move(done)](const grpc::Status& status) { done(status, rpc->reply); });
}

}  // namespace snakepit
