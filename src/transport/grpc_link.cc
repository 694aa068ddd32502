#include "src/transport/grpc_link.h"

#include <grpc/grpc.h>

#include <chrono>

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
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Else gRPC lets the worker be ahead of a reader by ever more, as it finds the channel fast: by
  // tens of MiB of a stream that nobody reads. Now it is 64 KiB, and not slower on one machine.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // Else a channel could go on with the connection of an earlier worker at the same address.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(peer.target, grpc::InsecureChannelCredentials(), arguments);
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
      stub_(SnakepitBridge::NewStub(MakeChannel(peer))) {}

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

void GrpcLink::AskHealth(SteadyTime deadline,
                         std::function<void(const grpc::Status&, const HealthResponse&)> done) {
  auto rpc = NewRpc<HealthRequest, HealthResponse>(deadline);
  rpc->request.set_worker_id(worker_id_);
  Start(&SnakepitBridge::StubInterface::async_interface::Health, asks_, rpc,
        [rpc, done = std::move(done)](const grpc::Status& status) { done(status, rpc->response); });
}

}  // namespace snakepit
