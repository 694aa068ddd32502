// The methods of the service SnakepitBridge as a client calls them: what the generated stub does,
// but that a reply which cannot be read is told from one that has not come, and from any other end
// of an RPC. gRPC itself takes the first for the end of a stream, for a method that the worker does
// not have, or for a message that lacks some of its fields. PROTOCOL.md 4.1.
#ifndef SNAKEPIT_TRANSPORT_GRPC_SERVICE_H_
#define SNAKEPIT_TRANSPORT_GRPC_SERVICE_H_

#include <google/protobuf/descriptor.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/impl/codegen/rpc_method.h>
#include <grpcpp/impl/codegen/serialization_traits.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/sync_stream.h>

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proto/snakepit.pb.h"
#include "src/transport/connection.h"
#include "src/transport/outcome.h"

namespace snakepit {

// A reply as it came.
template <typename Message>
struct GrpcReply {
  Message message;
  bool came = false;          // false: the RPC ended without one
  std::string unreadable;     // why it cannot be read; empty: it can
  std::exception_ptr thrown;  // by reading it: there is no memory, say

  // To be called before `message` is used: PROTOCOL_ERROR when there is none. Throws what reading
  // it has thrown.
  Result<void> Check() const {
    if (thrown) std::rethrow_exception(thrown);
    if (!came) {
      return Fail(MayHaveRun({.code = ErrorCode::kProtocolError,
                              .message = "the worker ended the call with the gRPC status OK and "
                                         "without a reply"}));
    }
    if (unreadable.empty()) return {};
    return Fail(MayHaveRun({.code = ErrorCode::kProtocolError,
                            .message = "the worker's reply cannot be read: " + unreadable}));
  }
};

// The reason why bytes are no message of that type: "text that is not UTF-8 in `error`: …".
std::string WhyUnreadable(const google::protobuf::Descriptor& type, std::string_view bytes);

std::string WhyUnreadable(const google::protobuf::Descriptor& type, const grpc::ByteBuffer& buffer);

// A method, and the channel to call it on, which must outlive it.
template <typename Request, typename Response>
class GrpcMethod {
 public:
  using Reply = GrpcReply<Response>;

  // `name` as it is on the wire; a literal.
  GrpcMethod(const char* name, grpc::internal::RpcMethod::RpcType type,
             const std::shared_ptr<grpc::ChannelInterface>& channel)
      : channel_(channel.get()), rpc_(name, type, channel) {}

  // OK without a message is OK, and `reply` has not come.
  grpc::Status Call(grpc::ClientContext* context, const Request& request, Reply* reply) const {
    grpc::Status status =
        grpc::internal::BlockingUnaryCall<Request, Reply, grpc::protobuf::MessageLite, Reply>(
            channel_, rpc_, context, request, reply);
    // gRPC's own status for OK without a message.
    if (!reply->came && status.error_code() == grpc::StatusCode::UNIMPLEMENTED &&
        status.error_message() == "No message returned for unary request") {
      return grpc::Status::OK;
    }
    return status;
  }

  // Likewise. `done` runs once, on a thread of gRPC's; what is pointed to must live until then.
  void Start(grpc::ClientContext* context, const Request* request, Reply* reply,
             std::function<void(grpc::Status)> done) const {
    grpc::internal::CallbackUnaryCall<Request, Reply, grpc::protobuf::MessageLite, Reply>(
        channel_, rpc_, context, request, reply, std::move(done));
  }

  std::unique_ptr<grpc::ClientReader<Reply>> Stream(grpc::ClientContext* context,
                                                    const Request& request) const {
    return std::unique_ptr<grpc::ClientReader<Reply>>(
        grpc::internal::ClientReaderFactory<Reply>::Create(channel_, rpc_, context, request));
  }

  // Binds `reactor`, which then begins the stream and reads it, on threads of gRPC's.
  void StartStream(grpc::ClientContext* context, const Request* request,
                   grpc::ClientReadReactor<Reply>* reactor) const {
    grpc::internal::ClientCallbackReaderFactory<Reply>::Create(channel_, rpc_, context, request,
                                                               reactor);
  }

 private:
  grpc::ChannelInterface* const channel_;
  const grpc::internal::RpcMethod rpc_;
};

struct GrpcStub {
  // The channel must outlive it.
  explicit GrpcStub(const std::shared_ptr<grpc::ChannelInterface>& channel);

  const GrpcMethod<ExecuteRequest, ExecuteResponse> execute;
  const GrpcMethod<ExecuteRequest, StreamResponse> execute_stream;
  const GrpcMethod<SessionRequest, ExecuteResponse> execute_in_session;
  const GrpcMethod<SessionRequest, StreamResponse> execute_in_session_stream;
  const GrpcMethod<HealthRequest, HealthResponse> health;
  const GrpcMethod<InfoRequest, InfoResponse> get_info;
};

}  // namespace snakepit

namespace grpc {

// Reads a reply for gRPC. gRPC is always told that it could be read, and no exception gets into its
// threads.
template <typename Message>
class SerializationTraits<snakepit::GrpcReply<Message>, void> {
 public:
  static Status Deserialize(ByteBuffer* buffer, snakepit::GrpcReply<Message>* reply) {
    reply->came = true;
    reply->unreadable.clear();
    try {
      if (!Parse(buffer, &reply->message)) {
        reply->unreadable = snakepit::WhyUnreadable(*Message::descriptor(), *buffer);
      }
    } catch (...) {
      reply->thrown = std::current_exception();
    }
    buffer->Clear();
    return Status::OK;
  }

 private:
  static bool Parse(ByteBuffer* buffer, Message* message) {
    ProtoBufferReader reader(buffer);
    return reader.status().ok() && message->ParseFromZeroCopyStream(&reader);
  }
};

}  // namespace grpc

#endif  // SNAKEPIT_TRANSPORT_GRPC_SERVICE_H_
