// Checks the other end of a connection: it must be a process of the worker. Any other one must get
// neither the token nor a call.
#ifndef SNAKEPIT_TRANSPORT_GRPC_PEER_CHECK_H_
#define SNAKEPIT_TRANSPORT_GRPC_PEER_CHECK_H_

#include <sys/types.h>

#include <string>
#include <utility>

#include "snakepit/error.h"
#include "src/process/worker_family.h"
#include "src/transport/grpc/address.h"

namespace snakepit {

enum class PeerState {
  kIsWorker,
  kUnknown,  // nobody has accepted the connection yet: ask again when something came on it
};

// Usable from any thread.
class GrpcPeerCheck {
 public:
  // `own_folder`: the pool's, which only its user can enter; may be empty.
  GrpcPeerCheck(pid_t worker, std::string own_folder)
      : family_(worker), own_folder_(std::move(own_folder)) {}

  // `fd` is a socket that is connected to that address. START_FAILED: another process has the other
  // end, or it is not known which. INTERNAL: the pool or the system is short of descriptors or
  // memory for the look. /proc shows the holder of a connection a moment after accept(2).
  //
  // On TCP the end itself counts, and not the process that listens: it stays the worker's own
  // whatever becomes of the port. On a Unix socket the process that called listen(2) counts: in the
  // pool's own folder one of its user, elsewhere one of the worker.
  Result<PeerState> Check(int fd, const GrpcAddress& address) const;

 private:
  Result<PeerState> CheckUnix(int fd, const GrpcAddress& address) const;
  Result<PeerState> CheckTcp(int fd, const GrpcAddress& address) const;

  const WorkerFamily family_;
  const std::string own_folder_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_PEER_CHECK_H_
