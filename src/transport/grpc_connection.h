// The connection to a worker over gRPC. PROTOCOL.md 4. No gRPC header is needed to include this.
#ifndef SNAKEPIT_TRANSPORT_GRPC_CONNECTION_H_
#define SNAKEPIT_TRANSPORT_GRPC_CONNECTION_H_

#include <asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "snakepit/adapter.h"
#include "src/transport/connection.h"

namespace snakepit {

// Makes a channel to `target`, in gRPC's notation ("unix:/path", "127.0.0.1:50051"), where
// something listens, and asks its Health. `ready` runs once on the io_context's thread: with the
// connection when it is healthy, else with START_FAILED or START_TIMEOUT. What is returned makes it
// fail at once, if it has not ended yet; from any thread.
std::function<void()> ConnectGrpc(asio::io_context& io, const std::string& target,
                                  const GrpcTransport& options, const std::string& worker_id,
                                  SteadyTime deadline,
                                  std::function<void(Result<std::shared_ptr<Connection>>)> ready);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_CONNECTION_H_
