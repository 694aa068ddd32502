// The connection to a worker over gRPC. PROTOCOL.md 4, 6.11 and 6.13.
#ifndef SNAKEPIT_TRANSPORT_GRPC_CONNECTION_H_
#define SNAKEPIT_TRANSPORT_GRPC_CONNECTION_H_

#include <memory>

#include "src/transport/connection.h"
#include "src/transport/grpc/link.h"
#include "src/transport/grpc/peer.h"

namespace snakepit {

// The connection to a worker that has agreed.
std::shared_ptr<Connection> MakeGrpcConnection(std::shared_ptr<GrpcLink> link, const GrpcPeer& peer,
                                               Agreement agreement);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_CONNECTION_H_
