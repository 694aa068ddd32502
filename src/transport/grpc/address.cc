#include "src/transport/grpc/address.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "src/base/quote.h"
#include "src/transport/grpc/worker_files.h"

namespace snakepit {
namespace {

constexpr size_t kMaxPathBytes = sizeof(sockaddr_un::sun_path) - 1;

tl::unexpected<Error> CannotConnect(const GrpcAddress& address, int error_number) {
  errno = error_number;
  return Fail(ErrnoError("cannot connect to " + address.Text(), error_number));
}

Result<UniqueFd> ConnectTo(const GrpcAddress& address, const sockaddr* peer, socklen_t length) {
  UniqueFd fd(socket(peer->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return CannotConnect(address, errno);
  if (connect(fd.get(), peer, length) != 0 && errno != EINPROGRESS) {
    return CannotConnect(address, errno);
  }
  return fd;
}

// If nobody listens at a port, a connection to it may get that very port for its own end. It is
// then a connection to itself.
bool IsToItself(int fd) {
  sockaddr_in own{};
  sockaddr_in peer{};
  socklen_t own_length = sizeof own;
  socklen_t peer_length = sizeof peer;
  return getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_length) == 0 &&
         getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_length) == 0 &&
         own.sin_port == peer.sin_port;
}

}  // namespace

std::string GrpcAddress::Text() const {
  return socket_path.empty() ? "127.0.0.1:" + std::to_string(port) : Printable(socket_path);
}

std::optional<Result<GrpcAddress>> AnnouncedAddress(std::string_view line) {
  for (std::string_view prefix : {"GRPC_READY:", "GRPC_SERVER_READY_ON_PORT="}) {
    if (!line.starts_with(prefix)) continue;
    const std::string_view rest = line.substr(prefix.size());
    if (auto port = ParsePort(rest)) return GrpcAddress{.port = *port};
    if (!rest.starts_with('/')) continue;
    if (rest.size() > kMaxPathBytes || rest.find('\0') != std::string_view::npos) {
      return Fail(ErrorCode::kStartFailed,
                  "it announced a socket to which nobody can connect: the path of a Unix socket "
                  "has at most " +
                      std::to_string(kMaxPathBytes) + " bytes, none of them 0, and this has " +
                      std::to_string(rest.size()) + ": " + QuoteBytes(rest));
    }
    return GrpcAddress{.socket_path = std::string(rest)};
  }
  return std::nullopt;
}

Result<UniqueFd> BeginConnect(const GrpcAddress& address) {
  if (!address.socket_path.empty()) {
    sockaddr_un peer{};
    peer.sun_family = AF_UNIX;
    if (address.socket_path.size() > kMaxPathBytes) return CannotConnect(address, ENAMETOOLONG);
    std::memcpy(peer.sun_path, address.socket_path.c_str(), address.socket_path.size() + 1);
    return ConnectTo(address, reinterpret_cast<const sockaddr*>(&peer), sizeof peer);
  }
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  peer.sin_port = htons(static_cast<uint16_t>(address.port));
  auto fd = ConnectTo(address, reinterpret_cast<const sockaddr*>(&peer), sizeof peer);
  if (!fd) return fd;
  if (IsToItself(fd->get())) return CannotConnect(address, ECONNREFUSED);
  // A call is one small segment after another, none of which is to wait for the next. gRPC does not
  // set it for a descriptor that it is given.
  const int on = 1;
  setsockopt(fd->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

}  // namespace snakepit
