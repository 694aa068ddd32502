// The launch of a worker that serves gRPC. PROTOCOL.md 1 and 4.2.
#ifndef SNAKEPIT_TRANSPORT_GRPC_LAUNCH_H_
#define SNAKEPIT_TRANSPORT_GRPC_LAUNCH_H_

#include <memory>

#include "src/transport/launch.h"

namespace snakepit {

Result<std::unique_ptr<Launch>> PrepareGrpcLaunch(const Adapter& adapter,
                                                  const GrpcTransport& options,
                                                  LaunchContext context);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_LAUNCH_H_
