// The address of a gRPC worker, and its announcement. PROTOCOL.md 4.2.
#ifndef SNAKEPIT_WORKER_GRPC_ADDRESS_H_
#define SNAKEPIT_WORKER_GRPC_ADDRESS_H_

#include <string>

#include "snakepit/error.h"

namespace snakepit {

struct ListenAddress {
  std::string socket_path;         // path of a Unix socket; empty: a TCP port
  std::string host = "127.0.0.1";  // address of the port
  int port = 0;                    // 0: any that is free
};

// The address as gRPC takes it; a path is made absolute. INVALID_ARGUMENT when the path is too
// long, or something is there that must not be replaced: a file, or the socket of a server that
// lives.
Result<std::string> GrpcListeningUri(const ListenAddress& address);

// Writes the port into the file that SNAKEPIT_READY_FILE names, if it does, by renaming a finished
// one. INTERNAL.
Result<void> WriteReadyFile(int port);

// Writes the line GRPC_READY to the descriptor, and for a port GRPC_SERVER_READY_ON_PORT. INTERNAL.
Result<void> Announce(int fd, const std::string& port_or_path);

// The path as it is announced and removed: absolute.
std::string AbsolutePath(const std::string& path);

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_ADDRESS_H_
