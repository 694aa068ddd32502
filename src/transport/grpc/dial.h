// Makes the connection to a worker anew. gRPC must not do that by itself: it would send the next
// call to any program that listens there by then.
#ifndef SNAKEPIT_TRANSPORT_GRPC_DIAL_H_
#define SNAKEPIT_TRANSPORT_GRPC_DIAL_H_

#include <chrono>
#include <memory>

#include "src/base/fd.h"
#include "src/transport/connection.h"
#include "src/transport/grpc/address.h"
#include "src/transport/grpc/peer_check.h"

namespace snakepit {

// Not synchronised.
class GrpcDial {
 public:
  // The time that the worker has to accept.
  static constexpr std::chrono::milliseconds kLimit{1'000};

  GrpcDial(GrpcAddress address, std::shared_ptr<const GrpcPeerCheck> check)
      : address_(std::move(address)), check_(std::move(check)) {}

  // Goes on from the last step, and never waits. Gives a connection to the worker; UNAVAILABLE:
  // another step is needed; WORKER_LOST: there will be none. `now` is not before that of the last.
  Result<UniqueFd> Step(SteadyTime now);

 private:
  // A step that is due.
  Result<UniqueFd> Look(SteadyTime now);
  // Another step is needed, after that time.
  tl::unexpected<Error> GoOn(SteadyTime next);

  const GrpcAddress address_;
  const std::shared_ptr<const GrpcPeerCheck> check_;
  SteadyTime end_{};   // of the limit
  SteadyTime last_{};  // the last step
  SteadyTime next_{};  // before it there is nothing to look at
  UniqueFd fd_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_DIAL_H_
