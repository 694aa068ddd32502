// The messages of the gRPC service, as this worker reads and writes them. PROTOCOL.md 4 and 6.11.
#ifndef SNAKEPIT_WORKER_GRPC_MESSAGES_H_
#define SNAKEPIT_WORKER_GRPC_MESSAGES_H_

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "proto/snakepit.pb.h"
#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/decode_budget.h"
#include "src/wire/proto_map.h"

namespace snakepit {

// False when the bytes are no such message. Empties the buffer.
template <typename Message>
bool ParseMessage(grpc::ByteBuffer* bytes, Message* message) {
  return grpc::SerializationTraits<Message>::Deserialize(bytes, message).ok();
}

// Replaces the bytes.
template <typename Message>
void SerializeMessage(const Message& message, grpc::ByteBuffer* bytes) {
  bytes->Clear();
  bool own = false;
  // It fails for texts that are no UTF-8, or for over 2 GiB; no message gets here with either.
  (void)grpc::SerializationTraits<Message>::Serialize(message, bytes, &own);
}

// An ExecuteRequest, or a SessionRequest.
struct GrpcRequest {
  std::string command;
  std::string request_id;
  std::string typed_args;
  ProtoMap args;
  int64_t timeout_ms = 0;
  bool in_session = false;
  std::string session_id;
  bool end_session = false;
};

// False when the bytes are no such message; `in_session` says which one it is. Empties the buffer.
bool ParseRequest(grpc::ByteBuffer* bytes, bool in_session, GrpcRequest* request);

// Decodes the arguments, a map, and takes them out of the request. INVALID_ARGUMENT, or
// MESSAGE_TOO_LARGE when they are over the limits or there is no memory for them.
Result<Value> TakeArgs(GrpcRequest& request, const DecodeLimits& limits);

// Puts a result or chunk in its place in the reply. 4.3 or 6.11.3.
Result<void> EncodeInto(const Value& value, bool typed, std::string* typed_field, ProtoMap* map);

Error ResultTooLarge(size_t size, size_t limit);

// Sets the fields of every reply.
template <typename Response>
void SetHeader(Response* response, const std::string& request_id) {
  response->set_request_id(request_id);
  response->set_timestamp(std::chrono::duration_cast<std::chrono::nanoseconds>(
                              std::chrono::system_clock::now().time_since_epoch())
                              .count());
}

// Puts in a call's error. Its message is cut so that the reply stays within the limit.
void SetError(ExecuteResponse* response, const Error& error, size_t limit);
void SetError(StreamResponse* response, const Error& error, size_t limit);

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_MESSAGES_H_
