// The connection to a worker over gRPC. PROTOCOL.md 4, 6.11 and 6.13. No gRPC header is needed to
// include this.
#ifndef SNAKEPIT_TRANSPORT_GRPC_CONNECTION_H_
#define SNAKEPIT_TRANSPORT_GRPC_CONNECTION_H_

#include <asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "snakepit/adapter.h"
#include "src/base/fd.h"
#include "src/transport/connection.h"
#include "src/transport/grpc/address.h"
#include "src/transport/grpc/peer_check.h"

namespace snakepit {

struct GrpcPeer {
  GrpcAddress address;
  std::shared_ptr<const GrpcPeerCheck> check;  // whether it is the worker that has a connection
  std::string worker_id;                       // what the pool calls the worker
  std::string token;                           // goes with every RPC. PROTOCOL.md 6.13
  GrpcTransport options;
  // What the values in a message may take in memory.
  size_t max_decoded_bytes = SIZE_MAX;
  // How long the worker may go on with a call that was given up. PROTOCOL.md 6.6.
  std::chrono::milliseconds cancel_grace{2'000};
};

// Over a connection that is known to be with the worker: asks its Health, and agrees with it on the
// version by GetInfo. `ready` runs once on the io_context's thread: with the connection, or with
// START_FAILED, START_TIMEOUT, WORKER_LOST or PROTOCOL_ERROR. What is returned makes it fail at
// once, if it has not ended yet; from any thread.
std::function<void()> ConnectGrpc(asio::io_context& io, const GrpcPeer& peer, UniqueFd connected,
                                  SteadyTime deadline,
                                  std::function<void(Result<std::shared_ptr<Connection>>)> ready);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_CONNECTION_H_
