// The address at which a gRPC worker listens, and a connection to it. PROTOCOL.md 4.2.
#ifndef SNAKEPIT_TRANSPORT_GRPC_ADDRESS_H_
#define SNAKEPIT_TRANSPORT_GRPC_ADDRESS_H_

#include <optional>
#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "src/base/fd.h"

namespace snakepit {

// A Unix socket, or a port of 127.0.0.1.
struct GrpcAddress {
  std::string socket_path;  // empty: TCP
  int port = 0;

  // The address for messages: "/run/w.sock", "127.0.0.1:5000".
  std::string Text() const;

  friend bool operator==(const GrpcAddress&, const GrpcAddress&) = default;
};

// The address that a line of stdout announces, or nothing when it announces none. START_FAILED for
// one to which nobody could connect.
std::optional<Result<GrpcAddress>> AnnouncedAddress(std::string_view line);

// A socket that is connected, or is about to be: what goes wrong later shows when it is read. Never
// waits. INTERNAL when nobody listens there, or those who do are too busy. errno says why.
Result<UniqueFd> BeginConnect(const GrpcAddress& address);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_ADDRESS_H_
