// The parts of a call over gRPC that are the same on a thread and without one. PROTOCOL.md 4 and
// 6.11.
#ifndef SNAKEPIT_TRANSPORT_GRPC_EXCHANGE_H_
#define SNAKEPIT_TRANSPORT_GRPC_EXCHANGE_H_

#include <grpcpp/support/status.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "proto/snakepit.pb.h"
#include "src/transport/connection.h"
#include "src/transport/grpc/abandoned_calls.h"
#include "src/transport/grpc/link.h"
#include "src/transport/grpc/messages.h"
#include "src/transport/grpc/peer.h"
#include "src/transport/grpc/service.h"
#include "src/transport/outcome.h"
#include "src/value/decode_budget.h"

namespace snakepit {

// The messages of a stream so far. PROTOCOL.md 4.5.
struct StreamState {
  int64_t chunks = 0;
  bool ended = false;          // by its final message
  std::optional<Error> error;  // this side ends it

  bool is_over() const { return ended || error.has_value(); }

  // `value` is the chunk of the message, if it holds one.
  void Take(const GrpcReply<StreamResponse>& reply, Result<std::optional<Value>> value,
            const CallRequest& request, const ChunkCallback& on_chunk);
};

// Requests, replies and outcomes of the calls to one worker. From any thread.
class GrpcExchange {
 public:
  GrpcExchange(std::shared_ptr<GrpcLink> link, const GrpcPeer& peer, Agreement agreement);

  // The worker has ended.
  template <typename T>
  static CallOutcome<T> Lost() {
    return {Fail(ErrorCode::kWorkerLost, "the worker has ended"), AfterCall::kLost};
  }
  // The call is to be sent again, on another connection.
  template <typename T>
  static CallOutcome<T> Unsent() {
    return {Fail(ErrorCode::kUnavailable,
                 "the connection to the worker ended before the call was sent, and is made anew"),
            AfterCall::kUnsent};
  }

  const Agreement& agreement() const { return agreement_; }

  bool InSession(const CallRequest& request) const {
    return !request.session_id.empty() && (agreement_.version == 1 || agreement_.session);
  }
  template <typename Message>
  Result<void> FillIn(const CallRequest& request, uint64_t id, Message* message) const {
    return Fill(request, agreement_.version, std::to_string(id), max_request_bytes_, message);
  }

  // A call has given something: the worker lives.
  void CountReply() {
    replies_.fetch_add(1, std::memory_order_relaxed);
    link_->SetAnswered();
  }
  // Chunks, and ends of calls, so far.
  uint64_t replies() const { return replies_; }

  // The outcome of an RPC that ended with OK, and of any other.
  CallOutcome<Value> Decode(const GrpcReply<ExecuteResponse>& reply, const CallRequest& request);
  CallOutcome<Value> Failed(const grpc::Status& status, RpcEnd end, const CallRequest& request);

  // The chunk of a message that has come, if it holds one.
  Result<std::optional<Value>> DecodeMessage(const StreamState& stream,
                                             const GrpcReply<StreamResponse>& reply,
                                             const CallRequest& request) const;
  // `end` counts only where neither side has ended the stream by a message.
  CallOutcome<int64_t> StreamOutcome(StreamState stream, const grpc::Status& status, RpcEnd end,
                                     const CallRequest& request);

  // True if this side has ended the RPC, or is about to.
  bool IsCancelledHere(const CallRequest& request) const {
    return link_->aborted() || request.stop.stop_requested();
  }
  // The caller has its outcome, kAbandoned: the worker's end of the call is awaited.
  void Abandon(uint64_t id, const CallRequest& request) {
    abandoned_->Add(std::to_string(id), request.released);
  }
  void Abort();

 private:
  DecodeLimits LimitsOf(const CallRequest& request) const {
    return {.max_bytes = max_decoded_bytes_, .deadline = request.deadline, .stop = request.stop};
  }

  const std::shared_ptr<GrpcLink> link_;
  const Agreement agreement_;
  const size_t max_request_bytes_;
  const size_t max_decoded_bytes_;
  const std::shared_ptr<AbandonedCalls> abandoned_;
  std::atomic<uint64_t> replies_ = 0;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_EXCHANGE_H_
