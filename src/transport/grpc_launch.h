// The launch of a worker that serves gRPC. PROTOCOL.md 1 and 4.2.
#ifndef SNAKEPIT_TRANSPORT_GRPC_LAUNCH_H_
#define SNAKEPIT_TRANSPORT_GRPC_LAUNCH_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/transport/launch.h"

namespace snakepit {

Result<std::unique_ptr<Launch>> PrepareGrpcLaunch(const Adapter& adapter,
                                                  const GrpcTransport& options,
                                                  LaunchContext context);

// Where a worker listens: a Unix socket, or a port of 127.0.0.1.
struct GrpcAddress {
  std::string socket_path;  // empty: TCP
  int port = 0;

  // In gRPC's notation.
  std::string Target() const;

  friend bool operator==(const GrpcAddress&, const GrpcAddress&) = default;
};

// The address that a line of stdout announces, or nothing when it announces none. PROTOCOL.md 4.2.
std::optional<GrpcAddress> AnnouncedAddress(std::string_view line);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_LAUNCH_H_
