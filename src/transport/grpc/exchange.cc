#include "src/transport/grpc/exchange.h"

#include <algorithm>

namespace snakepit {

void StreamState::Take(const GrpcReply<StreamResponse>& reply, Result<std::optional<Value>> value,
                       const CallRequest& request, const ChunkCallback& on_chunk) {
  ended = reply.unreadable.empty() && reply.message.is_final();
  if (!value) {
    error = std::move(value.error());
  } else if (*value) {
    const Chunk chunk{.value = std::move(**value), .index = chunks++, .final = ended};
    if (!on_chunk(chunk)) error = GivenUp(request);
  }
}

GrpcExchange::GrpcExchange(std::shared_ptr<GrpcLink> link, const GrpcPeer& peer,
                           Agreement agreement)
    : link_(std::move(link)),
      agreement_(std::move(agreement)),
      max_request_bytes_(std::min(agreement_.max_frame_bytes, peer.options.max_message_bytes)),
      max_decoded_bytes_(peer.max_decoded_bytes),
      abandoned_(std::make_shared<AbandonedCalls>(link_, peer.cancel_grace)) {}

CallOutcome<Value> GrpcExchange::Decode(const GrpcReply<ExecuteResponse>& reply,
                                        const CallRequest& request) {
  CountReply();
  if (auto readable = reply.Check(); !readable) return {Fail(std::move(readable.error()))};
  return {DecodeResponse(reply.message, agreement_.version, LimitsOf(request))};
}

CallOutcome<Value> GrpcExchange::Failed(const grpc::Status& status, RpcEnd end,
                                        const CallRequest& request) {
  if (link_->aborted()) {
    return {Fail(MayHaveRun(std::move(Lost<Value>().result.error()))), AfterCall::kLost};
  }
  if (end == RpcEnd::kUnsent) return Unsent<Value>();
  CountReply();
  StatusMeaning meaning = Judge(status, end == RpcEnd::kLost, request, agreement_.version);
  return {Fail(std::move(meaning.error)), meaning.after};
}

Result<std::optional<Value>> GrpcExchange::DecodeMessage(const StreamState& stream,
                                                         const GrpcReply<StreamResponse>& reply,
                                                         const CallRequest& request) const {
  return reply.Check().and_then([&] {
    return DecodeChunk(reply.message, stream.chunks, agreement_.version, LimitsOf(request));
  });
}

CallOutcome<int64_t> GrpcExchange::StreamOutcome(StreamState stream, const grpc::Status& status,
                                                 RpcEnd end, const CallRequest& request) {
  if (stream.error) {
    // Version 1 does not tell when the worker is through with it.
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

void GrpcExchange::Abort() {
  link_->Abort();
  abandoned_->Abort();
}

}  // namespace snakepit
