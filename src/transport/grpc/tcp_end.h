// The other end of a TCP connection within this machine, by the kernel.
#ifndef SNAKEPIT_TRANSPORT_GRPC_TCP_END_H_
#define SNAKEPIT_TRANSPORT_GRPC_TCP_END_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "snakepit/error.h"

namespace snakepit {

struct TcpEnd {
  uint64_t inode = 0;  // of the socket; 0: nobody has accepted the connection, or it has gone
  uid_t user = 0;
};

// The end at `port`, where `peer_port` is that of the one who asks; both are of 127.0.0.1. Nothing
// where the system shows no such end. START_FAILED: its tables have too many rows. INTERNAL: they
// cannot be opened, as there is no descriptor for them, say.
Result<std::optional<TcpEnd>> FindTcpEnd(int port, int peer_port);

// Uses sock_diag(7) alone: takes microseconds, but not every system has it.
std::optional<TcpEnd> AskForTcpEnd(int port, int peer_port);
// Uses the tables in /proc/net alone: takes milliseconds.
Result<std::optional<TcpEnd>> LookForTcpEnd(int port, int peer_port);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_TCP_END_H_
