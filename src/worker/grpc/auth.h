// The token of a worker over gRPC. PROTOCOL.md 6.13.
#ifndef SNAKEPIT_WORKER_GRPC_AUTH_H_
#define SNAKEPIT_WORKER_GRPC_AUTH_H_

#include <grpcpp/grpcpp.h>

#include <string_view>

namespace snakepit {

// True if the headers of an RPC have the token once, or the worker has no token.
bool IsAuthenticated(const grpc::CallbackServerContext& context, std::string_view token);

// The status of every other RPC, whatever is wrong with it.
grpc::Status Unauthenticated();

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_AUTH_H_
