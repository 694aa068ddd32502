// What the parts of a gRPC connection share: the channel to one worker, the token that goes with
// every RPC, and the RPCs in progress. PROTOCOL.md 4 and 6.13.
#ifndef SNAKEPIT_TRANSPORT_GRPC_LINK_H_
#define SNAKEPIT_TRANSPORT_GRPC_LINK_H_

#include <grpcpp/grpcpp.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

#include "src/transport/connection.h"
#include "src/transport/grpc_connection.h"
#include "src/transport/grpc_service.h"

namespace snakepit {

// Contexts of RPCs in progress, to be cancelled when the worker has gone. From any thread.
class RpcContexts {
 public:
  // Keeps a context known for its own lifetime.
  class Entry {
   public:
    Entry(RpcContexts& contexts, grpc::ClientContext* context)
        : contexts_(contexts), context_(context), added_(contexts.Add(context)) {}
    ~Entry() {
      if (added_) contexts_.Remove(context_);
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    // False when no RPC is to begin any more.
    bool added() const { return added_; }

   private:
    RpcContexts& contexts_;
    grpc::ClientContext* const context_;
    const bool added_;
  };

  // False when no RPC is to begin any more.
  bool Add(grpc::ClientContext* context);
  void Remove(grpc::ClientContext* context);
  // Cancels what is in progress; nothing begins after it.
  void Abort();
  bool aborted() const;
  int size() const;

 private:
  mutable std::mutex mutex_;
  std::set<grpc::ClientContext*> contexts_;
  bool aborted_ = false;
};

class GrpcLink : public std::enable_shared_from_this<GrpcLink> {
 public:
  // The largest metadata of a reply that are read, in bytes. The text of a status is a part of
  // them. gRPC gives a connection with larger ones up, and with it all RPCs that are on it.
  static constexpr int kMaxMetadataBytes = 1 << 20;

  // An RPC that no thread waits for.
  template <typename Request, typename Response>
  struct Rpc {
    grpc::ClientContext context;
    Request request;
    GrpcReply<Response> reply;
  };

  GrpcLink(asio::io_context& io, const GrpcPeer& peer);

  asio::io_context& io() const { return io_; }
  const GrpcService& service() const { return service_; }
  // What the pool calls the worker.
  const std::string& worker_id() const { return worker_id_; }

  // The calls in progress, and beside them the RPCs that ask the worker something.
  RpcContexts& calls() { return calls_; }
  RpcContexts& asks() { return asks_; }

  // Ends all that is in progress; nothing begins after it. From any thread.
  void Abort();
  bool aborted() const { return calls_.aborted(); }

  // To be done with a context before its RPC begins.
  void SetUp(grpc::ClientContext* context, SteadyTime deadline) const;

  // Whether an RPC ended so, which this side did not cancel, as its connection was lost; else the
  // worker chose to say so. A status does not tell: gRPC has the same ones for both. The first may
  // wait for a moment, and is not for the io_context's thread; the second is, and `done` runs
  // there, perhaps in here.
  bool AwaitIsLoss(const grpc::Status& status) const;
  void IsLoss(const grpc::Status& status, std::function<void(bool)> done);

  template <typename Request, typename Response>
  std::shared_ptr<Rpc<Request, Response>> NewRpc(SteadyTime deadline) const {
    auto rpc = std::make_shared<Rpc<Request, Response>>();
    SetUp(&rpc->context, deadline);
    return rpc;
  }

  // Begins an RPC that NewRpc made. `done` runs on the io_context's thread, exactly once and not in
  // here, with CANCELLED when `contexts`, which must live until then, take no more.
  template <typename Request, typename Response>
  void Start(const GrpcMethod<Request, Response>& method, RpcContexts& contexts,
             std::shared_ptr<Rpc<Request, Response>> rpc, std::function<void(grpc::Status)> done) {
    // gRPC ends the RPC on a thread of its own; the io_context must not run out of work until then.
    auto work = asio::make_work_guard(io_);
    if (!contexts.Add(&rpc->context)) {
      return asio::post(io_, [rpc, done = std::move(done)] { done(grpc::Status::CANCELLED); });
    }
    auto& context = rpc->context;
    auto& request = rpc->request;
    auto& reply = rpc->reply;
    method.Start(&context, &request, &reply,
                 [self = shared_from_this(), &contexts, rpc = std::move(rpc),
                  done = std::move(done), work = std::move(work)](grpc::Status status) mutable {
                   contexts.Remove(&rpc->context);
                   auto& io = self->io_;
                   // Nothing may be left to this thread: gRPC 1.51 aborts when its last channel
                   // goes on one of its own.
                   asio::post(io, [self = std::move(self), rpc = std::move(rpc),
                                   done = std::move(done), work = std::move(work),
                                   status = std::move(status)]() mutable { done(status); });
                 });
  }

  // Asks Health. `done` as for Start; what it is given lives as long as it runs.
  void AskHealth(SteadyTime deadline,
                 std::function<void(const grpc::Status&, const GrpcReply<HealthResponse>&)> done);

 private:
  void LookForLoss(SteadyTime until, std::function<void(bool)> done);
  bool IsConnected() const {
    return channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  }

  asio::io_context& io_;
  const std::string worker_id_;
  const std::string token_;
  const std::shared_ptr<grpc::Channel> channel_;
  const GrpcService service_;
  RpcContexts calls_;
  RpcContexts asks_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_LINK_H_
