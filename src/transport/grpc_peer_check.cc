#include "src/transport/grpc_peer_check.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>

namespace snakepit {
namespace {

// Of a table of /proc/net, of which a row is read in about a microsecond.
constexpr int kMaxRows = 200'000;

// Of a TCP connection.
struct End {
  uint64_t inode = 0;  // 0: nobody has accepted it
  uid_t user = 0;
};

// "0100007F:1F90", as the kernel prints its own words. In the table of IPv6 a listener for both has
// the mapped form.
std::string InTable(int port, bool is_ipv6) {
  char text[64];
  const uint32_t loopback = htonl(INADDR_LOOPBACK);
  if (is_ipv6) {
    std::snprintf(text, sizeof text, "%08X%08X%08X%08X:%04X", 0u, 0u, htonl(0xFFFF), loopback,
                  port);
  } else {
    std::snprintf(text, sizeof text, "%08X:%04X", loopback, port);
  }
  return text;
}

// Nothing where no such row is shown. START_FAILED: there are too many.
Result<std::optional<End>> FindEnd(const char* table, bool is_ipv6, int port, int peer_port) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(table, "re"), std::fclose);
  if (!file) return std::nullopt;
  const std::string local = InTable(port, is_ipv6);
  const std::string remote = InTable(peer_port, is_ipv6);
  char line[512];
  for (int rows = 0; std::fgets(line, sizeof line, file.get()) != nullptr; ++rows) {
    if (rows == kMaxRows) {
      return Fail(ErrorCode::kStartFailed, std::string(table) + " has more than " +
                                               std::to_string(kMaxRows) +
                                               " rows, which are not all looked at");
    }
    char row_local[48];
    char row_remote[48];
    unsigned user = 0;
    unsigned long long inode = 0;
    if (std::sscanf(line, "%*s %47s %47s %*s %*s %*s %*s %u %*s %llu", row_local, row_remote, &user,
                    &inode) == 4 &&
        local == row_local && remote == row_remote) {
      return End{.inode = inode, .user = user};
    }
  }
  return std::nullopt;
}

tl::unexpected<Error> NotTheWorkers(const GrpcAddress& address, const std::string& who) {
  return Fail(ErrorCode::kStartFailed,
              "what listens at " + address.Text() + " is not known to be the worker: " + who +
                  "; nothing was sent to it. Have the worker listen on {socket}, where nobody else "
                  "can");
}

}  // namespace

Result<PeerState> GrpcPeerCheck::Check(int fd, const GrpcAddress& address) const {
  return address.socket_path.empty() ? CheckTcp(fd, address) : CheckUnix(fd, address);
}

Result<PeerState> GrpcPeerCheck::CheckUnix(int fd, const GrpcAddress& address) const {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return NotTheWorkers(address, "the system does not say whose it is");
  }
  const std::string_view path = address.socket_path;
  const bool in_own_folder = !own_folder_.empty() && path.substr(0, path.rfind('/')) == own_folder_;
  if (in_own_folder && peer.uid == geteuid()) return PeerState::kIsWorker;
  if (family_.Has(peer.pid)) return PeerState::kIsWorker;
  return NotTheWorkers(address, "process " + std::to_string(peer.pid) + " of user " +
                                    std::to_string(peer.uid) +
                                    " began to listen there, which is none of the worker's");
}

Result<PeerState> GrpcPeerCheck::CheckTcp(int fd, const GrpcAddress& address) const {
  sockaddr_in own{};
  socklen_t length = sizeof own;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) != 0 ||
      own.sin_family != AF_INET) {
    return NotTheWorkers(address, "the system does not say which connection this is");
  }
  sockaddr_in peer{};
  length = sizeof peer;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) {
    return PeerState::kUnknown;  // it is not connected yet, or not any more
  }
  const int own_port = ntohs(own.sin_port);
  auto end = FindEnd("/proc/net/tcp", /*is_ipv6=*/false, address.port, own_port);
  if (end && !*end) end = FindEnd("/proc/net/tcp6", /*is_ipv6=*/true, address.port, own_port);
  if (!end) return NotTheWorkers(address, end.error().message);
  if (!*end) {
    return NotTheWorkers(address, "/proc/net/tcp does not show who has the connection");
  }
  if ((*end)->inode == 0) return PeerState::kUnknown;
  const Result<bool> has = family_.HasSocket((*end)->inode);
  if (!has) return NotTheWorkers(address, has.error().message);
  if (*has) return PeerState::kIsWorker;
  return NotTheWorkers(address,
                       "no process of the worker that /proc shows has the connection, but "
                       "one of user " +
                           std::to_string((*end)->user));
}

}  // namespace snakepit
