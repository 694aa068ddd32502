#include "src/transport/grpc_messages.h"

#include <algorithm>
#include <utility>

#include "src/wire/message.h"
#include "src/wire/msgpack.h"
#include "src/wire/proto_map.h"

namespace snakepit {
namespace {

// What max_message_bytes may be. PROTOCOL.md 1.2.3.
constexpr int64_t kLeastMessageBytes = 1024;
constexpr int64_t kMostMessageBytes = INT32_MAX;

tl::unexpected<Error> ProtocolError(std::string what) {
  return Fail(ErrorCode::kProtocolError, std::move(what));
}

bool HasFeature(const InfoResponse& response, std::string_view name) {
  return std::find(response.features().begin(), response.features().end(), name) !=
         response.features().end();
}

template <typename Message>
Error InBandError(const Message& message, int version) {
  Error error = WorkerError(message.code(), message.error());
  if (version > 1 && message.did_not_run()) error.may_have_run = false;
  return error;
}

// What cannot be decoded: as it is no MessagePack, or within the limits.
Error Undecoded(Error error, std::string_view field) {
  if (error.code == ErrorCode::kInvalidArgument) error.code = ErrorCode::kProtocolError;
  error.message = std::string(field) + ": " + error.message;
  return MayHaveRun(std::move(error));
}

Result<Value> DecodeTyped(const std::string& bytes, std::string_view field,
                          const DecodeLimits& limits) {
  auto value = DecodeMsgpack(bytes, MapKeys::kText, kMaxNesting, limits);
  if (!value) value = Fail(Undecoded(std::move(value.error()), field));
  return value;
}

// Of a worker of version 1.
Result<Value> DecodeLegacy(const ProtoMap& map, std::string_view field,
                           const DecodeLimits& limits) {
  auto value = DecodeMap(map, limits);
  if (!value) value = Fail(Undecoded(std::move(value.error()), field));
  return value;
}

template <typename Message>
Result<void> FillArgs(const CallRequest& request, int version, Message* message) {
  if (version == 1) {
    return request.args == nullptr ? Result<void>()
                                   : EncodeMap(*request.args, message->mutable_args());
  }
  // A request without typed_args would be one of version 1.
  if (request.args == nullptr || request.args->is_null()) {
    AppendMsgpackMapHeader(0, message->mutable_typed_args());
    return {};
  }
  return EncodeMsgpack(*request.args, message->mutable_typed_args(), "args");
}

template <typename Message>
Result<void> FillMessage(const CallRequest& request, int version, std::string request_id,
                         size_t max_bytes, Message* message) {
  message->set_command(std::string(request.command));
  message->set_timeout_ms(
      static_cast<int32_t>(std::min<int64_t>(MillisecondsUntil(request.deadline), INT32_MAX)));
  message->set_request_id(std::move(request_id));
  if (auto filled = FillArgs(request, version, message); !filled) return filled;
  if (version == 1) return {};  // the channel has the limit
  if (const size_t bytes = message->ByteSizeLong(); bytes > max_bytes) {
    return Fail(ErrorCode::kMessageTooLarge, "the request has " + std::to_string(bytes) +
                                                 " bytes, and the worker takes at most " +
                                                 std::to_string(max_bytes));
  }
  return {};
}

}  // namespace

InfoRequest MakeInfoRequest(size_t max_message_bytes) {
  InfoRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.add_features("stream");
  request.add_features("session");
  request.set_max_message_bytes(static_cast<int64_t>(max_message_bytes));
  return request;
}

Result<Agreement> AgreementFrom(const InfoResponse& response, size_t max_message_bytes) {
  Agreement agreement{.max_frame_bytes = max_message_bytes, .worker_id = response.worker_id()};
  const int32_t version = response.protocol_version();
  if (version < 0 || version > kProtocolVersion) {
    return ProtocolError("GetInfo: the worker speaks version " + std::to_string(version) +
                         " of the protocol, this pool versions 1 to " +
                         std::to_string(kProtocolVersion));
  }
  if (version < 2) return agreement;
  agreement.version = version;
  agreement.stream = HasFeature(response, "stream");
  agreement.session = HasFeature(response, "session");
  if (response.capacity() < 0 || response.capacity() > kMaxCapacity) {
    return ProtocolError("GetInfo: a capacity is 1 to " + std::to_string(kMaxCapacity) + ", not " +
                         std::to_string(response.capacity()));
  }
  if (response.capacity() > 0) agreement.capacity = response.capacity();
  const int64_t limit = response.max_message_bytes();
  if (limit != 0 && (limit < kLeastMessageBytes || limit > kMostMessageBytes)) {
    return ProtocolError("GetInfo: max_message_bytes is " + std::to_string(kLeastMessageBytes) +
                         " to " + std::to_string(kMostMessageBytes) + ", not " +
                         std::to_string(limit));
  }
  if (limit != 0) agreement.max_frame_bytes = static_cast<size_t>(limit);
  return agreement;
}

Result<void> Fill(const CallRequest& request, int version, std::string request_id, size_t max_bytes,
                  ExecuteRequest* message) {
  return FillMessage(request, version, std::move(request_id), max_bytes, message);
}

Result<void> Fill(const CallRequest& request, int version, std::string request_id, size_t max_bytes,
                  SessionRequest* message) {
  message->set_session_id(std::string(request.session_id));
  return FillMessage(request, version, std::move(request_id), max_bytes, message);
}

Result<Value> DecodeResponse(const ExecuteResponse& response, int version,
                             const DecodeLimits& limits) {
  if (!response.success()) return Fail(InBandError(response, version));
  if (version > 1) return DecodeTyped(response.typed_result(), "typed_result", limits);
  Result<Value> result = DecodeLegacy(response.result(), "result", limits);
  if (!result) return result;
  if (auto error = LegacyResultError(*result)) return Fail(std::move(*error));
  return result;
}

Result<std::optional<Value>> DecodeChunk(const StreamResponse& response, int64_t chunks,
                                         int version, const DecodeLimits& limits) {
  if (!response.error().empty() || (version > 1 && !response.code().empty())) {
    return Fail(InBandError(response, version));
  }
  if (version > 1) {
    if (response.is_final() && response.typed_chunk().empty()) return std::nullopt;
    return DecodeTyped(response.typed_chunk(), "typed_chunk", limits);
  }
  if (response.is_final() && response.chunk().empty()) return std::nullopt;
  Result<Value> chunk = DecodeLegacy(response.chunk(), "chunk", limits);
  // The one result of a command that does not stream may be a legacy error.
  if (chunk && response.is_final() && chunks == 0) {
    if (auto error = LegacyResultError(*chunk)) return Fail(std::move(*error));
  }
  return chunk;
}

StatusMeaning Judge(const grpc::Status& status, const CallRequest& request, int version) {
  // In version 2 there is a way to learn when the worker is through with what was given up.
  const AfterCall given_up = version == 1 ? AfterCall::kUnusable : AfterCall::kAbandoned;
  Error error{.message = status.error_message()};
  error.may_have_run = true;
  switch (status.error_code()) {
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return {std::move(DeadlinePassed(request).result.error()), given_up};
    case grpc::StatusCode::CANCELLED:
      if (request.stop.stop_requested()) return {GivenUp(request), given_up};
      [[fallthrough]];  // by the worker, which ends
    case grpc::StatusCode::UNAVAILABLE:
      error.code = ErrorCode::kWorkerLost;
      error.message = "the worker closed its connection (" + error.message + ")";
      return {std::move(error), AfterCall::kLost};
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      // It may be this side that refused a message, of a stream that goes on.
      error.code = ErrorCode::kMessageTooLarge;
      return {std::move(error), version == 1 ? AfterCall::kUsable : AfterCall::kAbandoned};
    case grpc::StatusCode::UNIMPLEMENTED:
      error.code = ErrorCode::kUnimplemented;
      error.may_have_run = false;
      return {std::move(error), AfterCall::kUsable};
    case grpc::StatusCode::INVALID_ARGUMENT:
      error.code = ErrorCode::kInvalidArgument;
      return {std::move(error), AfterCall::kUsable};
    case grpc::StatusCode::UNKNOWN:
      // What a server makes of an exception that its handler let pass; but gRPC itself also says it
      // of a connection that is broken by bytes that are not the protocol's. A worker of version 2
      // has another way to say that a handler failed. PROTOCOL.md 4.4.5.
      if (version == 1) {
        error.code = ErrorCode::kHandlerFailed;
        return {std::move(error), AfterCall::kUsable};
      }
      [[fallthrough]];
    default:
      error.code = ErrorCode::kProtocolError;
      error.message = Describe(status);
      return {std::move(error), AfterCall::kUnusable};
  }
}

std::string Describe(const grpc::Status& status) {
  return "gRPC status " + std::to_string(status.error_code()) + ": " + status.error_message();
}

}  // namespace snakepit
