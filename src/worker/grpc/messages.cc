#include "src/worker/grpc/messages.h"

#include <malloc.h>

#include <string_view>
#include <utility>

#include "src/wire/msgpack.h"
#include "src/worker/call_state.h"
#include "src/worker/grpc/result_map.h"

namespace snakepit {
namespace {

template <typename Message>
void TakeCommonFields(Message& message, GrpcRequest* request) {
  request->command = std::move(*message.mutable_command());
  request->request_id = std::move(*message.mutable_request_id());
  request->typed_args = std::move(*message.mutable_typed_args());
  request->args.swap(*message.mutable_args());
  request->timeout_ms = message.timeout_ms();
}

// Arguments over the limits are too large, and so are those for which there is no memory.
Error UndecodedArgs(std::string_view field, const Error& error) {
  const bool too_large = error.code != ErrorCode::kInvalidArgument;
  // The decoded part is freed by now, but the allocator keeps it for this thread alone.
  if (too_large) malloc_trim(0);
  return CallError(too_large ? ErrorCode::kMessageTooLarge : error.code,
                   std::string(field) + " cannot be decoded: " + error.message, false);
}

template <typename Response>
void SetErrorOf(Response* response, const Error& error, size_t limit) {
  response->set_code(std::string(ErrorCodeName(error.code)));
  response->set_did_not_run(!error.may_have_run);
  const size_t other = response->ByteSizeLong() + 16;
  const size_t room = limit > other ? limit - other : 0;
  std::string_view message = error.message;
  if (message.size() > room) {
    size_t size = room;
    while (size > 0 && (static_cast<unsigned char>(message[size]) & 0xc0) == 0x80) --size;
    message = message.substr(0, size);
  }
  // An error is one because it has a text. PROTOCOL.md 4.4.2.
  response->set_error(message.empty() ? "failed" : std::string(message));
}

}  // namespace

bool ParseRequest(grpc::ByteBuffer* bytes, bool in_session, GrpcRequest* request) {
  request->in_session = in_session;
  if (!in_session) {
    ExecuteRequest message;
    if (!ParseMessage(bytes, &message)) return false;
    TakeCommonFields(message, request);
    return true;
  }
  SessionRequest message;
  if (!ParseMessage(bytes, &message)) return false;
  TakeCommonFields(message, request);
  request->session_id = std::move(*message.mutable_session_id());
  request->end_session = message.end_session();
  return true;
}

Result<Value> TakeArgs(GrpcRequest& request, const DecodeLimits& limits) {
  const bool typed = !request.typed_args.empty();
  Result<Value> args = typed
                           ? DecodeMsgpack(request.typed_args, MapKeys::kText, kMaxNesting, limits)
                           : DecodeMap(request.args, limits);
  if (args && !args->is_map()) args = Fail(ErrorCode::kInvalidArgument, "they are no map");
  request.typed_args = std::string();
  ProtoMap().swap(request.args);
  if (!args) return Fail(UndecodedArgs(typed ? "typed_args" : "args", args.error()));
  return args;
}

Result<void> EncodeInto(const Value& value, bool typed, std::string* typed_field, ProtoMap* map) {
  if (!typed) return EncodeResultMap(value, map);
  typed_field->clear();
  Result<void> encoded = EncodeMsgpack(value, typed_field, "result");
  if (!encoded) encoded.error().code = ErrorCode::kHandlerFailed;
  return encoded;
}

Error ResultTooLarge(size_t size, size_t limit) {
  return CallError(ErrorCode::kMessageTooLarge,
                   "a result of " + std::to_string(size) + " bytes is over the message limit of " +
                       std::to_string(limit),
                   true);
}

void SetError(ExecuteResponse* response, const Error& error, size_t limit) {
  SetErrorOf(response, error, limit);
}

void SetError(StreamResponse* response, const Error& error, size_t limit) {
  SetErrorOf(response, error, limit);
}

}  // namespace snakepit
