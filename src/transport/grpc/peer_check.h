// Who is at the other end of a connection: the worker's own processes, or somebody else, who is to
// get neither the token nor a call.
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

  // Of a socket that is connected to that address. START_FAILED when another has the other end, or
  // it cannot be told who does; INTERNAL when the pool or the system is short of what it takes to
  // look. For a moment after accept(2) /proc does not show yet who has the connection.
  //
  // On TCP it is the end itself, and not who listens, by which that is told: it stays the worker's
  // own whatever becomes of the port. On a Unix socket it is who called listen(2): in the pool's
  // own folder its user, elsewhere a process of the worker.
  Result<PeerState> Check(int fd, const GrpcAddress& address) const;

 private:
  Result<PeerState> CheckUnix(int fd, const GrpcAddress& address) const;
  Result<PeerState> CheckTcp(int fd, const GrpcAddress& address) const;

  const WorkerFamily family_;
  const std::string own_folder_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_PEER_CHECK_H_
