// The shared part of a gRPC connection: the way to one worker, the token that goes with every RPC,
// and the RPCs in progress. PROTOCOL.md 4 and 6.13.
#ifndef SNAKEPIT_TRANSPORT_GRPC_LINK_H_
#define SNAKEPIT_TRANSPORT_GRPC_LINK_H_

#include <grpcpp/grpcpp.h>
#include <sys/socket.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "src/base/fd.h"
#include "src/base/mutex.h"
#include "src/transport/connection.h"
#include "src/transport/grpc/dial.h"
#include "src/transport/grpc/peer.h"
#include "src/transport/grpc/service.h"

namespace snakepit {

// The contexts of RPCs in progress, to be cancelled when the worker has gone. From any thread.
class RpcContexts {
 public:
  // The place of a context among them, to be removed before its end.
  class Place {
   public:
    explicit Place(grpc::ClientContext* context) : context_(context) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    friend class RpcContexts;
    grpc::ClientContext* const context_;
    Place* before_ = nullptr;
    Place* after_ = nullptr;
    bool is_added_ = false;
  };

  // Keeps a context known for its own lifetime.
  class Entry {
   public:
    Entry(RpcContexts& contexts, grpc::ClientContext* context)
        : contexts_(contexts), place_(context), added_(contexts.Add(place_)) {}
    ~Entry() { contexts_.Remove(place_); }

    // False when no RPC is to begin any more.
    bool added() const { return added_; }

   private:
    RpcContexts& contexts_;
    Place place_;
    const bool added_;
  };

  // False when no RPC is to begin any more: the context is then not added.
  bool Add(Place& place);
  // Does nothing for one that was not added.
  void Remove(Place& place);
  // Cancels the RPCs in progress; nothing begins after it.
  void Abort();
  bool aborted() const { return aborted_; }
  int size() const;

 private:
  mutable Mutex mutex_;
  Place* first_ ABSL_GUARDED_BY(mutex_) = nullptr;
  int size_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> aborted_ = false;  // set with mutex_
};

// One connection to the worker, and the channel of gRPC on it. gRPC never connects by itself: when
// the connection has ended, the RPCs on the channel fail, and go to nobody else.
class GrpcWire {
 public:
  // INTERNAL when the system has no descriptor to give.
  static Result<std::shared_ptr<GrpcWire>> On(UniqueFd connected, const GrpcPeer& peer);

  GrpcWire(std::shared_ptr<grpc::Channel> channel, UniqueFd watched);

  const GrpcStub& service() const { return service_; }

  // True if one side has closed the connection. The system knows at once when the worker has; gRPC
  // may end an RPC a moment before it closes a connection that it has given up.
  bool IsClosed() const { return IsClosedWithin(std::chrono::milliseconds(0)); }
  // Same, after a wait of up to `time` for that.
  bool IsClosedWithin(std::chrono::milliseconds time) const;

  // The worker takes no more RPCs on this connection, though it may go on with some.
  void SetRefusing() { refuses_ = true; }
  bool refuses() const { return refuses_; }
  bool TakesRpcs() const { return !refuses_ && !IsClosed(); }

  // Bytes that have come and that gRPC has not read yet.
  size_t UnreadBytes() const;
  // Ends each RPC that is on it.
  void Close() { shutdown(watched_.get(), SHUT_RDWR); }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const GrpcStub service_;
  std::atomic<bool> refuses_ = false;
  // A copy of the channel's descriptor. To be closed before that: gRPC relies on it that the system
  // forgets a descriptor that it closes.
  const UniqueFd watched_;
};

// The end of an RPC that failed, where this side did not cause that.
enum class RpcEnd {
  kAnswered,  // the worker said so
  kLost,      // its connection has ended
  kUnsent,    // likewise, or it takes no more; the worker has seen nothing of the RPC
};

class GrpcLink : public std::enable_shared_from_this<GrpcLink> {
 public:
  // The largest metadata of a reply that are read, in bytes. The text of a status is a part of
  // them. gRPC gives a connection with larger ones up, and with it all RPCs that are on it.
  static constexpr int kMaxMetadataBytes = 1 << 20;

  // An RPC that no thread waits for.
  template <typename Request, typename Response>
  struct Rpc {
    std::shared_ptr<GrpcWire> wire;
    grpc::ClientContext context;
    RpcContexts::Place place{&context};
    Request request;
    GrpcReply<Response> reply;
  };

  // `wire` is known to be with the worker.
  GrpcLink(asio::io_context& io, const GrpcPeer& peer, std::shared_ptr<GrpcWire> wire);

  asio::io_context& io() const { return io_; }
  // The pool's name for the worker.
  const std::string& worker_id() const { return peer_.worker_id; }

  // An id for one request of a call.
  uint64_t NextId() { return ++last_id_; }

  // The calls in progress, and beside them the RPCs that ask the worker something.
  RpcContexts& calls() { return calls_; }
  RpcContexts& asks() { return asks_; }

  // Ends all that is in progress; nothing begins after it. From any thread.
  void Abort();
  bool aborted() const { return calls_.aborted(); }

  // The connection for the next RPC. Servers end connections that are idle or old: it is then made
  // anew, by steps that do not wait. UNAVAILABLE: it is not made yet. WORKER_LOST, from then on for
  // ever: it cannot be made, or not with the worker, or one after another ended before an RPC was
  // answered.
  Result<std::shared_ptr<GrpcWire>> Wire();
  // The worker has answered an RPC.
  void SetAnswered() {
    if (!answered_.load(std::memory_order_relaxed)) answered_ = true;
  }

  // Prepares a context before its RPC begins.
  void SetUp(grpc::ClientContext* context, SteadyTime deadline) const;

  // The end of an RPC that has that status and that this side did not cancel. The status alone does
  // not tell: gRPC uses the same ones for a loss as handlers do. AwaitEnd may wait for a moment,
  // and is not for the io thread. FindEnd is, and `done` runs there, perhaps in here.
  RpcEnd AwaitEnd(GrpcWire& wire, const grpc::Status& status);
  void FindEnd(const std::shared_ptr<GrpcWire>& wire, const grpc::Status& status,
               std::function<void(RpcEnd)> done);

  template <typename Request, typename Response>
  std::shared_ptr<Rpc<Request, Response>> NewRpc(std::shared_ptr<GrpcWire> wire,
                                                 SteadyTime deadline) const {
    auto rpc = std::make_shared<Rpc<Request, Response>>();
    rpc->wire = std::move(wire);
    SetUp(&rpc->context, deadline);
    return rpc;
  }

  // Begins an RPC that NewRpc made. `done` runs on the io thread, exactly once and not in
  // here, with CANCELLED when `contexts`, which must live until then, take no more.
  template <typename Request, typename Response>
  void Start(const GrpcMethod<Request, Response>& method, RpcContexts& contexts,
             std::shared_ptr<Rpc<Request, Response>> rpc, std::function<void(grpc::Status)> done) {
    // gRPC ends the RPC on a thread of its own; the io_context must not run out of work until then.
    auto work = asio::make_work_guard(io_);
    auto& context = rpc->context;
    auto& place = rpc->place;
    auto& request = rpc->request;
    auto& reply = rpc->reply;
    // Before the context is known to `contexts`: this may throw, and the context go.
    std::function<void(grpc::Status)> ended =
        [self = shared_from_this(), &contexts, rpc = std::move(rpc), done = std::move(done),
         work = std::move(work)](grpc::Status status) mutable {
          contexts.Remove(rpc->place);
          auto& io = self->io_;
          // Nothing may be left to this thread: gRPC 1.51 aborts when its last channel goes on one
          // of its own.
          asio::post(
              io, [self = std::move(self), rpc = std::move(rpc), done = std::move(done),
                   work = std::move(work), status = std::move(status)]() mutable { done(status); });
        };
    if (!contexts.Add(place)) return ended(grpc::Status::CANCELLED);
    method.Start(&context, &request, &reply, std::move(ended));
  }

  // Asks Health. `done` as for Start; what it is given lives as long as it runs.
  struct HealthAnswer {
    const grpc::Status& status;
    RpcEnd end;  // kAnswered for OK, and where this side ended it
    const GrpcReply<HealthResponse>& reply;
  };
  void AskHealth(SteadyTime deadline, std::function<void(const HealthAnswer&)> done);

 private:
  using HealthRpc = Rpc<HealthRequest, HealthResponse>;

  std::shared_ptr<HealthRpc> NewHealthRpc(std::shared_ptr<GrpcWire> wire,
                                          SteadyTime deadline) const;
  // Unless it is the last, it is asked once more where the connection has ended before.
  void AskHealth(SteadyTime deadline, bool is_last, std::function<void(const HealthAnswer&)> done);
  void EndWithoutWire(const Error& error, std::function<void(const HealthAnswer&)> done);
  // The end of a Health that tells whether the connection still takes RPCs. Nothing after an Abort.
  std::optional<grpc::Status> Probe(GrpcWire& wire);
  void ProbeForEnd(const std::shared_ptr<GrpcWire>& wire, const grpc::Status& status,
                   std::chrono::milliseconds wait, std::function<void(RpcEnd)> done);
  void LookForLoss(const std::shared_ptr<GrpcWire>& wire, const grpc::Status& status,
                   SteadyTime until, std::function<void(RpcEnd)> done);
  tl::unexpected<Error> Lose(const std::string& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The worker has accepted another connection since then, and so does not stop.
  bool IsReplaced(const GrpcWire& wire);

  asio::io_context& io_;
  const GrpcPeer peer_;
  Mutex mutex_;
  std::shared_ptr<GrpcWire> wire_ ABSL_GUARDED_BY(mutex_);  // never null
  SteadyTime wire_made_ ABSL_GUARDED_BY(mutex_){};
  // Since then no connection was of use.
  SteadyTime refused_since_ ABSL_GUARDED_BY(mutex_){};
  std::optional<GrpcDial> dial_ ABSL_GUARDED_BY(mutex_);  // while it is made anew
  std::optional<Error> lost_ ABSL_GUARDED_BY(mutex_);     // there will be no other
  std::atomic<uint64_t> last_id_ = 0;
  std::atomic<bool> answered_ = true;  // since the last connection ended
  RpcContexts calls_;
  RpcContexts asks_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_LINK_H_
