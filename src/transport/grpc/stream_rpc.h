// A stream over gRPC that no thread waits for.
#ifndef SNAKEPIT_TRANSPORT_GRPC_STREAM_RPC_H_
#define SNAKEPIT_TRANSPORT_GRPC_STREAM_RPC_H_

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/client_callback.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <functional>
#include <memory>
#include <utility>

#include "src/transport/grpc/link.h"
#include "src/transport/grpc/service.h"

namespace snakepit {

// Reads one message at a time, when it is asked to: gRPC holds the worker up meanwhile. Keeps
// itself until its end. All methods are called, and all callbacks run, on the io thread.
template <typename Request>
class GrpcStreamRpc final : public grpc::ClientReadReactor<GrpcReply<StreamResponse>>,
                            public std::enable_shared_from_this<GrpcStreamRpc<Request>> {
 public:
  using OnMessage = std::function<void(GrpcStreamRpc& rpc)>;
  using OnEnd = std::function<void(GrpcStreamRpc& rpc, const grpc::Status& status)>;

  GrpcStreamRpc(asio::io_context& io, std::shared_ptr<GrpcWire> wire)
      : work_(asio::make_work_guard(io)), wire_(std::move(wire)) {}

  // To be filled in before Start.
  grpc::ClientContext context;
  Request request;

  // The message that has been read last.
  const GrpcReply<StreamResponse>& reply() const { return reply_; }
  const std::shared_ptr<GrpcWire>& wire() const { return wire_; }

  // `on_message` runs for each message, and is to call ReadNext or GiveUp, then or later. `on_end`
  // runs once and last, with CANCELLED when `contexts`, which must live until then, take no more.
  // Neither runs in here.
  void Start(const GrpcMethod<Request, StreamResponse>& method, RpcContexts& contexts,
             OnMessage on_message, OnEnd on_end) {
    on_message_ = std::move(on_message);
    on_end_ = std::move(on_end);
    contexts_ = &contexts;
    if (!contexts.Add(place_)) return PostEnd(this->shared_from_this(), grpc::Status::CANCELLED);
    self_ = this->shared_from_this();
    method.StartStream(&context, &request, this);
    this->AddHold();  // ReadNext is called from outside of the reactions
    this->StartRead(&reply_);
    this->StartCall();
  }

  void ReadNext() { this->StartRead(&reply_); }

  // Takes the message. An exception ends the RPC, as nobody would read on.
  template <typename Reaction>
  void React(Reaction reaction) {
    try {
      reaction();
    } catch (...) {
      GiveUp();
      throw;
    }
  }

  // No message is wanted any more. A second call does nothing.
  void GiveUp() {
    if (std::exchange(is_given_up_, true)) return;
    context.TryCancel();
    this->RemoveHold();
  }

 private:
  // On a thread of gRPC's, as the next one.
  void OnReadDone(bool ok) override {
    if (!ok) return this->RemoveHold();
    asio::post(work_.get_executor(), [self = this->shared_from_this()] {
      self->React([&self] { self->on_message_(*self); });
    });
  }

  void OnDone(const grpc::Status& status) override {
    contexts_->Remove(place_);
    PostEnd(std::move(self_), status);
  }

  // Nothing may be left to the thread of gRPC's: see GrpcLink::Start.
  static void PostEnd(std::shared_ptr<GrpcStreamRpc> self, grpc::Status status) {
    const auto executor = self->work_.get_executor();
    asio::post(executor, [self = std::move(self), status = std::move(status)] {
      self->on_end_(*self, status);
    });
  }

  // The io_context must not run out of work before the end.
  const asio::executor_work_guard<asio::io_context::executor_type> work_;
  const std::shared_ptr<GrpcWire> wire_;
  RpcContexts::Place place_{&context};
  GrpcReply<StreamResponse> reply_;
  OnMessage on_message_;
  OnEnd on_end_;
  RpcContexts* contexts_ = nullptr;
  bool is_given_up_ = false;
  std::shared_ptr<GrpcStreamRpc> self_;  // while gRPC has it
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_STREAM_RPC_H_
