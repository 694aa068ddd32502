#include "src/transport/grpc/dial.h"

#include <poll.h>

#include <cerrno>
#include <utility>

#include "src/base/shortage.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

// The wait between two looks, however many calls wait for the connection.
constexpr milliseconds kLookWait{1};
// The same, if the last look found another process: a look goes through all of /proc.
constexpr milliseconds kScanWait{50};

}  // namespace

Result<UniqueFd> GrpcDial::Step(SteadyTime now) {
  // The limit is the worker's, and not for the time in which nobody wanted the connection.
  if (now - last_ > kLimit) {
    fd_.Reset();
    end_ = now + kLimit;
    next_ = now;
  }
  last_ = now;
  if (now < next_) return GoOn(next_);
  return Look(now);
}

Result<UniqueFd> GrpcDial::Look(SteadyTime now) {
  if (!fd_.valid()) {
    auto connected = BeginConnect(address_);
    if (!connected) {
      const int error = errno;
      if (IsShortage(error)) end_ = now + kLimit;
      // EAGAIN: those who listen at a Unix socket have too many connections to accept.
      if (now < end_ && (IsShortage(error) || error == EAGAIN)) return GoOn(now + kLookWait);
      return Fail(ErrorCode::kWorkerLost, std::move(connected.error().message));
    }
    fd_ = std::move(*connected);
  }
  auto peer = check_->Check(fd_.get(), address_);
  if (!peer) {
    if (peer.error().code == ErrorCode::kInternal) end_ = now + kLimit;
    // The worker may be about to have it: accept(2) shows the connection a moment before, and it
    // may be handed on from one of its processes to another.
    if (now < end_) return GoOn(now + kScanWait);
    return Fail(ErrorCode::kWorkerLost, std::move(peer.error().message));
  }
  if (*peer == PeerState::kIsWorker) return std::move(fd_);
  pollfd refused{.fd = fd_.get(), .events = 0, .revents = 0};
  if (poll(&refused, 1, 0) > 0) {
    return Fail(ErrorCode::kWorkerLost, "nobody accepts a connection at " + address_.Text());
  }
  if (now < end_) return GoOn(now + kLookWait);
  return Fail(ErrorCode::kWorkerLost, "nobody accepted a connection at " + address_.Text() +
                                          " within " + std::to_string(kLimit.count()) + " ms");
}

tl::unexpected<Error> GrpcDial::GoOn(SteadyTime next) {
  next_ = next;
  return Fail(ErrorCode::kUnavailable, "the connection to the worker is being made anew");
}

}  // namespace snakepit
