#include "src/transport/grpc/tcp_end.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "src/base/fd.h"
#include "src/base/shortage.h"

namespace snakepit {
namespace {

// The limit for a table of /proc/net. A row is read in about a microsecond.
constexpr int kMaxRows = 200'000;

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

Result<std::optional<TcpEnd>> LookInTable(const char* table, bool is_ipv6, int port,
                                          int peer_port) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(table, "re"), std::fclose);
  if (!file) {
    if (IsShortage(errno)) return Fail(ErrnoError(std::string("cannot open ") + table, errno));
    return std::nullopt;
  }
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
      return TcpEnd{.inode = inode, .user = user};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<TcpEnd> AskForTcpEnd(int port, int peer_port) {
  const UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG));
  if (!fd.valid()) return std::nullopt;
  struct {
    nlmsghdr header;
    inet_diag_req_v2 body;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.body.sdiag_family = AF_INET;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states = ~0u;
  inet_diag_sockid& id = request.body.id;
  id.idiag_sport = htons(static_cast<uint16_t>(port));
  id.idiag_dport = htons(static_cast<uint16_t>(peer_port));
  id.idiag_src[0] = id.idiag_dst[0] = htonl(INADDR_LOOPBACK);
  id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (send(fd.get(), &request, sizeof request, 0) != sizeof request) return std::nullopt;
  // The answer is there as soon as the question has been sent.
  alignas(nlmsghdr) char answer[1024];
  const ssize_t size = recv(fd.get(), answer, sizeof answer, 0);
  const auto* const header = reinterpret_cast<const nlmsghdr*>(answer);
  if (size < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(inet_diag_msg))) ||
      header->nlmsg_type != SOCK_DIAG_BY_FAMILY) {
    return std::nullopt;
  }
  inet_diag_msg found;
  std::memcpy(&found, NLMSG_DATA(header), sizeof found);
  // If there is no such connection, the process that listens at the port may have it.
  if (found.idiag_state == TCP_LISTEN || found.id.idiag_sport != id.idiag_sport ||
      found.id.idiag_dport != id.idiag_dport) {
    return std::nullopt;
  }
  return TcpEnd{.inode = found.idiag_inode, .user = found.idiag_uid};
}

Result<std::optional<TcpEnd>> LookForTcpEnd(int port, int peer_port) {
  auto end = LookInTable("/proc/net/tcp", /*is_ipv6=*/false, port, peer_port);
  if (!end || *end) return end;
  return LookInTable("/proc/net/tcp6", /*is_ipv6=*/true, port, peer_port);
}

Result<std::optional<TcpEnd>> FindTcpEnd(int port, int peer_port) {
  if (const auto end = AskForTcpEnd(port, peer_port)) return end;
  return LookForTcpEnd(port, peer_port);
}

}  // namespace snakepit
