// A link to a worker that says nothing, for tests of the parts beside it.
#ifndef SNAKEPIT_TRANSPORT_GRPC_TESTING_LONE_LINK_H_
#define SNAKEPIT_TRANSPORT_GRPC_TESTING_LONE_LINK_H_

#include <asio/io_context.hpp>
#include <memory>
#include <utility>

#include "src/base/fd.h"
#include "src/transport/grpc/link.h"

namespace snakepit::testing {

struct LoneLink {
  asio::io_context io;  // runs only where a test runs it
  const GrpcPeer peer{.worker_id = "worker_3"};
  FdPair sockets = *OpenSocketPair();
  std::shared_ptr<GrpcLink> link =
      std::make_shared<GrpcLink>(io, peer, *GrpcWire::On(std::move(sockets.first), peer));
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_TRANSPORT_GRPC_TESTING_LONE_LINK_H_
