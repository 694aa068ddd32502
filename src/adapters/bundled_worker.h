// The Python worker that comes with the project, as an adapter.
#ifndef SNAKEPIT_CLI_BUNDLED_WORKER_H_
#define SNAKEPIT_CLI_BUNDLED_WORKER_H_

#include <vector>

#include "snakepit/adapter.h"

namespace snakepit {

// The bundled worker on stdio, with a handshake that offers these codecs.
Result<Adapter> BundledStdioWorker(std::vector<Codec> codecs = {Codec::kMessagePack, Codec::kJson});

// The bundled worker serving gRPC on a Unix socket.
Result<Adapter> BundledGrpcWorker();

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_BUNDLED_WORKER_H_
