#include "conformance/harness/raw_grpc.h"

#include <grpcpp/grpcpp.h>

#include "proto/snakepit.grpc.pb.h"

namespace snakepit::conformance {
namespace {

// An empty map in MessagePack: PROTOCOL.md 6.11.3.
constexpr char kNoArgs[] = "\x80";

std::string StatusCodeName(grpc::StatusCode code) {
  static constexpr const char* kNames[] = {"OK",
                                           "CANCELLED",
                                           "UNKNOWN",
                                           "INVALID_ARGUMENT",
                                           "DEADLINE_EXCEEDED",
                                           "NOT_FOUND",
                                           "ALREADY_EXISTS",
                                           "PERMISSION_DENIED",
                                           "RESOURCE_EXHAUSTED",
                                           "FAILED_PRECONDITION",
                                           "ABORTED",
                                           "OUT_OF_RANGE",
                                           "UNIMPLEMENTED",
                                           "INTERNAL",
                                           "UNAVAILABLE",
                                           "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  const auto number = static_cast<size_t>(code);
  return number < std::size(kNames) ? kNames[number] : std::to_string(number);
}

ExecuteRequest WithoutSession() {
  ExecuteRequest request;
  request.set_command("ping");
  request.set_request_id("judge");
  request.set_typed_args(kNoArgs);
  return request;
}

SessionRequest WithSession() {
  SessionRequest request;
  request.set_session_id("judge");
  request.set_command("ping");
  request.set_request_id("judge");
  request.set_typed_args(kNoArgs);
  return request;
}

std::unique_ptr<SnakepitBridge::Stub> NewStub(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Else the channel could reuse a connection of the pool.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return SnakepitBridge::NewStub(
      grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
}

// One call.
void Prepare(grpc::ClientContext& context, const std::optional<std::string>& token,
             std::chrono::milliseconds limit) {
  context.set_deadline(std::chrono::system_clock::now() + limit);
  context.set_wait_for_ready(true);
  if (token) context.AddMetadata("snakepit-token", *token);
}

grpc::Status ReadAll(std::unique_ptr<grpc::ClientReader<StreamResponse>> reader) {
  StreamResponse response;
  while (reader->Read(&response)) continue;
  return reader->Finish();
}

}  // namespace

std::vector<RpcOutcome> CallEachMethod(const std::string& target,
                                       const std::optional<std::string>& token,
                                       std::chrono::milliseconds limit) {
  const auto stub = NewStub(target);
  std::vector<RpcOutcome> outcomes;
  const auto call = [&](const char* method, auto rpc) {
    grpc::ClientContext context;
    Prepare(context, token, limit);
    const grpc::Status status = rpc(&context);
    outcomes.push_back({method, StatusCodeName(status.error_code()), status.error_message()});
  };
  ExecuteResponse executed;
  HealthResponse health;
  InfoResponse info;
  call("Execute",
       [&](auto* context) { return stub->Execute(context, WithoutSession(), &executed); });
  call("ExecuteStream",
       [&](auto* context) { return ReadAll(stub->ExecuteStream(context, WithoutSession())); });
  call("ExecuteInSession",
       [&](auto* context) { return stub->ExecuteInSession(context, WithSession(), &executed); });
  call("ExecuteInSessionStream", [&](auto* context) {
    return ReadAll(stub->ExecuteInSessionStream(context, WithSession()));
  });
  call("Health", [&](auto* context) { return stub->Health(context, HealthRequest(), &health); });
  call("GetInfo", [&](auto* context) { return stub->GetInfo(context, InfoRequest(), &info); });
  return outcomes;
}

std::vector<std::string> GetSupportedCommands(const std::string& target, const std::string& token,
                                              std::chrono::milliseconds limit) {
  grpc::ClientContext context;
  Prepare(context, token, limit);
  InfoResponse info;
  if (!NewStub(target)->GetInfo(&context, InfoRequest(), &info).ok()) return {};
  return {info.supported_commands().begin(), info.supported_commands().end()};
}

}  // namespace snakepit::conformance
