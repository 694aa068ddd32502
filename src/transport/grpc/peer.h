// One worker that serves gRPC: where it listens, and how the pool speaks with it.
#ifndef SNAKEPIT_TRANSPORT_GRPC_PEER_H_
#define SNAKEPIT_TRANSPORT_GRPC_PEER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "snakepit/adapter.h"
#include "src/transport/grpc/address.h"
#include "src/transport/grpc/peer_check.h"

namespace snakepit {

struct GrpcPeer {
  GrpcAddress address;
  std::shared_ptr<const GrpcPeerCheck> check;  // that the worker itself has a connection
  std::string worker_id;                       // the pool's name for the worker
  std::string token;                           // goes with every RPC. PROTOCOL.md 6.13
  GrpcTransport options;
  // The limit of memory for the values in a message.
  size_t max_decoded_bytes = SIZE_MAX;
  // The time that the worker may go on with a call that was given up. PROTOCOL.md 6.6.
  std::chrono::milliseconds cancel_grace{2'000};
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_PEER_H_
