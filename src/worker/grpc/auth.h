// The token of a worker over gRPC. PROTOCOL.md 6.13.
#ifndef SNAKEPIT_WORKER_GRPC_AUTH_H_
#define SNAKEPIT_WORKER_GRPC_AUTH_H_

#include <grpcpp/grpcpp.h>

#include <string_view>

namespace snakepit {

// Whether the headers of an RPC have the token, once; always where the worker has none.
bool IsAuthenticated(const grpc::CallbackServerContext& context, std::string_view token);

// What every other RPC ends with, whatever is wrong with it.
grpc::Status Unauthenticated();

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_AUTH_H_
