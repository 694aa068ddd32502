#include "src/transport/grpc_dial.h"

#include <poll.h>

#include <utility>

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// A server mostly speaks first, as soon as it has accepted.
constexpr int kStepMs = 5;

}  // namespace

Result<UniqueFd> GrpcDial::Step() {
  const SteadyTime now = steady_clock::now();
  if (end_ == SteadyTime{}) end_ = now + kLimit;
  if (!fd_.valid()) {
    auto connected = BeginConnect(address_);
    if (!connected) return Fail(ErrorCode::kWorkerLost, std::move(connected.error().message));
    fd_ = std::move(*connected);
  }
  auto peer = check_->Check(fd_.get(), address_);
  if (peer && *peer == PeerState::kUnknown) {
    pollfd readable{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    poll(&readable, 1, kStepMs);
    if ((readable.revents & (POLLERR | POLLHUP)) != 0) {
      return Fail(ErrorCode::kWorkerLost, "nobody accepts a connection at " + address_.Text());
    }
    peer = check_->Check(fd_.get(), address_);
  }
  if (!peer) return Fail(ErrorCode::kWorkerLost, std::move(peer.error().message));
  if (*peer == PeerState::kIsWorker) return std::move(fd_);
  if (now < end_) {
    return Fail(ErrorCode::kUnavailable, "the connection to the worker is being made anew");
  }
  return Fail(ErrorCode::kWorkerLost, "nobody accepted a connection at " + address_.Text() +
                                          " within " + std::to_string(kLimit.count()) + " ms");
}

}  // namespace snakepit
