// A connection to a worker that had one before, made anew: gRPC is not to do that by itself, as it
// would send the next call to whoever listens there by then.
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
  // Within that time the worker is to accept.
  static constexpr std::chrono::milliseconds kLimit{1'000};

  GrpcDial(GrpcAddress address, std::shared_ptr<const GrpcPeerCheck> check)
      : address_(std::move(address)), check_(std::move(check)) {}

  // Goes on from the last step, and never waits. With a connection to the worker; UNAVAILABLE:
  // another step is needed; WORKER_LOST: there will be none.
  Result<UniqueFd> Step();

 private:
  // A step at that time.
  Result<UniqueFd> StepAt(SteadyTime now);
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
