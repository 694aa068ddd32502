#include "src/transport/grpc/messages.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <span>
#include <utility>

#include "src/base/quote.h"
#include "src/transport/grpc/link.h"
#include "src/transport/outcome.h"
#include "src/wire/limits.h"
#include "src/wire/msgpack.h"
#include "src/wire/pool_side/message.h"
#include "src/wire/proto_map.h"

namespace snakepit {
namespace {

constexpr const char* kStatusNames[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

// Texts that gRPC itself gives a status, in C++ (and what is built on it), Node.js, Go and Java.
constexpr std::string_view kMessageTooLarge[] = {"larger than max", "exceeds maximum size"};
constexpr std::string_view kMetadataTooLarge[] = {"metadata size exceeds"};
constexpr std::string_view kReset[] = {"Received RST_STREAM with error code"};
// With INTERNAL, where gRPC for C++ gives a connection up, as what came is not HTTP/2.
constexpr std::string_view kNotHttp2[] = {
    "Frame size ",
    "frame of size ",
    "Unknown frame type",
    "Expected SETTINGS frame",
    "Settings frame received",
    "HTTP2 settings error",
    "CONTINUATION frame",
    "CONTINUATION received",
    "Too many trailer frames",
    "Trailing metadata frame received",
    "header/continuation sequence",
    "hpack",
    "HPACK",
    "invalid data frame",
    "invalid settings",
    "invalid value ",
    "invalid window update",
    "invalid ping",
    "invalid rst_stream",
    "frame too short",
    "non-integral number of settings",
    "max table size changes",
};

// A timer may end the RPC earlier than its deadline by this: gRPC counts in milliseconds.
constexpr std::chrono::milliseconds kDeadlineSlack{10};

bool ContainsAny(std::string_view text, std::span<const std::string_view> phrases) {
  return std::any_of(phrases.begin(), phrases.end(), [text](std::string_view phrase) {
    return text.find(phrase) != std::string_view::npos;
  });
}

// Fit for an error message.
std::string TextOf(const grpc::Status& status) {
  return Excerpt(status.error_message(), kMostErrorTextBytes);
}

// The meaning of a status that a handler ended with.
std::string ReasonOf(const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::UNKNOWN) return Describe(status);
  // A server's status for an exception that its handler let pass.
  if (status.error_message() == "Unknown error") {
    return "Unknown error, which is all that a worker on grpc-js tells of an exception: with "
           "GRPC_NODE_DEBUG_SEND_ERROR_DETAILS=true in its environment it tells the rest";
  }
  if (status.error_message().empty()) return std::string(kNoReason);
  return TextOf(status);
}

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

// The error of a value that is no MessagePack, or goes over the limits.
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

// The same for a worker of version 1.
Result<Value> DecodeLegacy(const ProtoMap& map, std::string_view field,
                           const DecodeLimits& limits) {
  auto value = DecodeMap(map, limits);
  if (!value) value = Fail(Undecoded(std::move(value.error()), field));
  return value;
}

template <typename Message>
Result<void> FillArgs(const CallRequest& request, int version, size_t max_bytes, Message* message) {
  const EncodeLimits limits{
      .max_bytes = max_bytes, .deadline = request.deadline, .stop = request.stop};
  if (version == 1) {
    return request.args == nullptr
               ? Result<void>()
               : EncodeMap(*request.args, message->mutable_args(), "args", limits);
  }
  // A request without typed_args would be one of version 1.
  if (request.args == nullptr || request.args->is_null()) {
    AppendMsgpackMapHeader(0, message->mutable_typed_args());
    return {};
  }
  return EncodeMsgpack(*request.args, message->mutable_typed_args(), "args", kMaxNesting, limits);
}

template <typename Message>
Result<void> FillMessage(const CallRequest& request, int version, std::string request_id,
                         size_t max_bytes, Message* message) {
  message->set_command(std::string(request.command));
  message->set_timeout_ms(
      static_cast<int32_t>(std::min<int64_t>(MillisecondsUntil(request.deadline), INT32_MAX)));
  message->set_request_id(std::move(request_id));
  if (auto filled = FillArgs(request, version, max_bytes, message); !filled) return filled;
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
  Agreement agreement{.max_frame_bytes = max_message_bytes,
                      .worker_id = Excerpt(response.worker_id(), kMostNameBytes)};
  const int32_t version = response.protocol_version();
  if (version < 0 || version > kProtocolVersion) {
    return ProtocolError("GetInfo: the worker speaks version " + std::to_string(version) +
                         " of the protocol, this pool versions 1 to " +
                         std::to_string(kProtocolVersion));
  }
  if (version < 2) {
    agreement.stream = true;  // each has the methods of streams
    return agreement;
  }
  agreement.version = version;
  agreement.stream = HasFeature(response, "stream");
  agreement.session = HasFeature(response, "session");
  if (response.capacity() < 0 || response.capacity() > kMaxCapacity) {
    return ProtocolError("GetInfo: a capacity is 1 to " + std::to_string(kMaxCapacity) + ", not " +
                         std::to_string(response.capacity()));
  }
  if (response.capacity() > 0) agreement.capacity = response.capacity();
  const int64_t limit = response.max_message_bytes();
  if (limit != 0 && (limit < kLeastMessageLimit || limit > kGreatestMessageLimit)) {
    return ProtocolError("GetInfo: max_message_bytes is " + MessageLimitRange() + ", not " +
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

StatusMeaning Judge(const grpc::Status& status, bool is_loss, const CallRequest& request,
                    int version) {
  // Version 2 has a way to learn when the worker is through with a call that was given up.
  const AfterCall given_up = version == 1 ? AfterCall::kUnusable : AfterCall::kAbandoned;
  // Nobody knows whether the handler has ended; in version 1 there is no telling.
  const AfterCall may_go_on = version == 1 ? AfterCall::kUsable : AfterCall::kAbandoned;
  const std::string& text = status.error_message();
  const auto meaning = [](ErrorCode code, std::string message, AfterCall after) {
    return StatusMeaning{MayHaveRun({.code = code, .message = std::move(message)}), after};
  };
  switch (status.error_code()) {
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      if (!IsDeadlineOf(status, request.deadline)) break;
      return {std::move(DeadlinePassed(request).result.error()), given_up};
    case grpc::StatusCode::CANCELLED:
      if (request.stop.stop_requested()) return {GivenUp(request), given_up};
      [[fallthrough]];
    case grpc::StatusCode::UNAVAILABLE:
      if (!is_loss) break;
      return meaning(ErrorCode::kWorkerLost,
                     "the worker closed its connection (" + TextOf(status) + ")", AfterCall::kLost);
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
      // A server may close a connection in order, as soon as a handler has ended so.
      if (!is_loss ||
          (status.error_code() == grpc::StatusCode::INTERNAL && !ContainsAny(text, kNotHttp2))) {
        break;
      }
      return meaning(ErrorCode::kProtocolError,
                     "what the worker sent is not HTTP/2, and gRPC gave the connection up (" +
                         Describe(status) + ")",
                     AfterCall::kUnusable);
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      if (IsOverMetadataLimit(status)) {
        return meaning(ErrorCode::kProtocolError,
                       "the worker sent the text of a status, or other metadata of a reply, over "
                       "the limit of " +
                           std::to_string(GrpcLink::kMaxMetadataBytes) +
                           " bytes, with this call or another one (" + TextOf(status) + ")",
                       may_go_on);
      }
      if (IsRefusedAsBusy(status)) {
        return {
            {.code = ErrorCode::kUnavailable,
             .message = "the worker refused the call, of which it ran nothing, as it is busy (" +
                        TextOf(status) + ")"},
            AfterCall::kUnsent};
      }
      // It may be this side that refused a message, of a stream that goes on.
      if (ContainsAny(text, kMessageTooLarge)) {
        return meaning(ErrorCode::kMessageTooLarge, TextOf(status), may_go_on);
      }
      break;
    case grpc::StatusCode::UNIMPLEMENTED: {
      StatusMeaning unimplemented =
          meaning(ErrorCode::kUnimplemented, TextOf(status), AfterCall::kUsable);
      unimplemented.error.may_have_run = false;
      return unimplemented;
    }
    case grpc::StatusCode::INVALID_ARGUMENT:
      return meaning(ErrorCode::kInvalidArgument, TextOf(status), AfterCall::kUsable);
    default:
      break;
  }
  if (ContainsAny(text, kReset)) {
    return meaning(ErrorCode::kProtocolError,
                   Describe(status) +
                       ", by which the worker's server ended the call without an answer: its "
                       "handler gave none, or a message or metadata are over a limit of it",
                   may_go_on);
  }
  return meaning(ErrorCode::kHandlerFailed, ReasonOf(status), AfterCall::kUsable);
}

bool IsDeadlineOf(const grpc::Status& status, SteadyTime deadline) {
  return status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
         std::chrono::steady_clock::now() + kDeadlineSlack >= deadline;
}

Error JudgeHealth(const grpc::Status& status, bool is_loss) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      if (is_loss) return {.code = ErrorCode::kWorkerLost, .message = "the worker has ended"};
      [[fallthrough]];
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::ABORTED:
      return {.code = ErrorCode::kUnavailable,
              .message = "the worker is too busy for Health: " + Describe(status)};
    default:
      return {.code = ErrorCode::kHandlerFailed, .message = "Health failed: " + Describe(status)};
  }
}

Result<WorkerHealth> HealthFrom(const GrpcReply<HealthResponse>& reply, int version, int calls) {
  if (auto readable = reply.Check(); !readable) {
    return Fail(ErrorCode::kProtocolError, "Health: " + readable.error().message);
  }
  const HealthResponse& response = reply.message;
  return WorkerHealth{
      .healthy = response.healthy(),
      .worker_id = Excerpt(response.worker_id(), kMostNameBytes),
      .uptime = std::chrono::milliseconds(response.uptime_ms()),
      .total_requests = response.total_requests(),
      .total_errors = response.total_errors(),
      .calls_in_flight = version == 1 ? calls : response.active_request_ids_size(),
      .version = Excerpt(response.version(), kMostNameBytes),
  };
}

bool IsOverMetadataLimit(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
         ContainsAny(status.error_message(), kMetadataTooLarge);
}

bool IsRefusedAsBusy(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
         (status.error_message() == "Concurrent RPC limit exceeded!" ||  // grpcio
          status.error_message() == "Server Threadpool Exhausted");      // gRPC for C++
}

std::string Describe(const grpc::Status& status) {
  const auto code = static_cast<size_t>(status.error_code());
  const std::string name =
      code < std::size(kStatusNames) ? kStatusNames[code] : std::to_string(code);
  return "gRPC status " + name +
         (status.error_message().empty() ? ", without a text" : ": " + TextOf(status));
}

}  // namespace snakepit
