#include "src/transport/grpc/peer_check.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string_view>

#include "src/transport/grpc/tcp_end.h"

namespace snakepit {
namespace {

tl::unexpected<Error> NotTheWorkers(const GrpcAddress& address, const std::string& who) {
  return Fail(ErrorCode::kStartFailed,
              "what listens at " + address.Text() + " is not known to be the worker: " + who +
                  "; nothing was sent to it. Have the worker listen on {socket}, where nobody else "
                  "can");
}

// The process that listened may have gone, and another have its number: one of another user is
// another. The system gives the folder of a process that hides its memory to root.
bool MayBeOf(const ucred& listener) {
  struct stat folder {};
  return stat(("/proc/" + std::to_string(listener.pid)).c_str(), &folder) == 0 &&
         (folder.st_uid == listener.uid || folder.st_uid == 0);
}

// An error of a look.
tl::unexpected<Error> NotLookedAt(const GrpcAddress& address, Error error) {
  if (error.code == ErrorCode::kInternal) return Fail(std::move(error));
  return NotTheWorkers(address, error.message);
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
  // Nobody but root and this user can put a socket there. A container may serve it as root.
  if (in_own_folder && (peer.uid == geteuid() || peer.uid == 0)) return PeerState::kIsWorker;
  if (family_.Has(peer.pid) && MayBeOf(peer)) return PeerState::kIsWorker;
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
  const auto end = FindTcpEnd(address.port, own_port);
  if (!end) return NotLookedAt(address, end.error());
  if (!*end) {
    return NotTheWorkers(address, "the system does not show who has the connection");
  }
  if ((*end)->inode == 0) return PeerState::kUnknown;
  const Result<bool> has = family_.HasSocket((*end)->inode);
  if (!has) return NotLookedAt(address, has.error());
  if (*has) return PeerState::kIsWorker;
  return NotTheWorkers(address,
                       "no process of the worker that /proc shows has the connection, but "
                       "one of user " +
                           std::to_string((*end)->user));
}

}  // namespace snakepit
