// From an open connection to the Connection of a worker that is ready. PROTOCOL.md 4 and 6.11. No
// gRPC header is needed to include this.
#ifndef SNAKEPIT_TRANSPORT_GRPC_HANDSHAKE_H_
#define SNAKEPIT_TRANSPORT_GRPC_HANDSHAKE_H_

#include <asio/io_context.hpp>
#include <functional>
#include <memory>

#include "src/base/fd.h"
#include "src/transport/connection.h"
#include "src/transport/grpc/peer.h"

namespace snakepit {

// `connected` is known to be with the worker. Asks the worker's Health, and agrees with it on the
// version by GetInfo. `ready` runs once on the io thread: with the connection, or with
// START_FAILED, START_TIMEOUT, WORKER_LOST or PROTOCOL_ERROR. The function that is returned makes
// it fail at once, if it has not ended yet; from any thread.
std::function<void()> ConnectGrpc(asio::io_context& io, const GrpcPeer& peer, UniqueFd connected,
                                  SteadyTime deadline,
                                  std::function<void(Result<std::shared_ptr<Connection>>)> ready);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_HANDSHAKE_H_
