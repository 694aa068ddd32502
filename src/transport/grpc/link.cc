#include "src/transport/grpc/link.h"

#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpcpp/create_channel_posix.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <asio/steady_timer.hpp>
#include <cerrno>

#include "src/transport/grpc/messages.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

// Keeps gRPC running until the end of the process. Else the last channel to go would shut it down,
// and with it threads that may take ten seconds to notice.
void KeepGrpcRunning() { [[maybe_unused]] static const bool kept = (grpc_init(), true); }

std::shared_ptr<grpc::Channel> MakeChannel(const GrpcPeer& peer, UniqueFd connected) {
  KeepGrpcRunning();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(peer.options.max_message_bytes));
  arguments.SetMaxSendMessageSize(static_cast<int>(peer.options.max_message_bytes));
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, GrpcLink::kMaxMetadataBytes);
  // Else gRPC lets the worker be ahead of a reader by ever more, as it finds the channel fast: by
  // tens of MiB of a stream that nobody reads. Now it is 64 KiB, and not slower on one machine.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // The name that gRPC gives to a host to which it connects by itself.
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY,
                      peer.address.socket_path.empty() ? peer.address.Text() : "localhost");
  return grpc::CreateCustomInsecureChannelFromFd("worker", connected.Release(), arguments);
}

// The longest time by which an RPC may end before gRPC closes the connection that it gives up, for
// bytes that are not HTTP/2, say. It does both in one go, but another thread may see each.
constexpr std::chrono::milliseconds kCloseLag{50};
// The wait between two looks.
constexpr std::chrono::milliseconds kLookWait{1};
// The time in which gRPC itself refuses an RPC on a connection that takes no more.
constexpr std::chrono::milliseconds kRefusalWait{50};
// The longest of the waits, each twice as long as the one before, between two such RPCs. A server
// that begins to stop cancels RPCs, this one too, a moment before it says that it takes no more.
constexpr std::chrono::milliseconds kLongestProbeWait{32};

// True for the statuses of an RPC that is refused by a worker that stops, or is about to.
bool MayBeRefusal(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         status.error_code() == grpc::StatusCode::CANCELLED;
}

// gRPC's own texts, with UNKNOWN, for an RPC on a connection that it has given up, as what came is
// not HTTP/2: for one in progress, and for one whose headers it was sending.
bool IsGivenUp(const grpc::Status& status) {
  return status.error_message() == "Stream removed" ||
         status.error_message().starts_with("Error in HTTP transport completing operation");
}

// True for the statuses of an RPC whose connection is lost; handlers use them, too. INTERNAL is
// another one of gRPC's own for a connection that it has given up.
bool MayBeLoss(const grpc::Status& status) {
  return MayBeRefusal(status) || status.error_code() == grpc::StatusCode::INTERNAL ||
         IsOverMetadataLimit(status) || IsGivenUp(status);
}

// Texts of gRPC's own, for an RPC of which it has sent nothing: the connection was closed already,
// or the worker had said on it that it takes no more.
bool IsUnsent(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE &&
         (status.error_message() == "Transport closed" ||
          status.error_message() == "GOAWAY received");
}

// On a connection that is closed.
RpcEnd EndOfLost(const grpc::Status& status) {
  return IsUnsent(status) ? RpcEnd::kUnsent : RpcEnd::kLost;
}

// On a connection that is open after all, and has not been replaced. Where it takes no more, the
// worker is mostly about to end: its server then ends calls that it has not begun with CANCELLED.
RpcEnd EndOfOpen(const GrpcWire& wire, const grpc::Status& status) {
  return MayBeRefusal(status) && wire.refuses() ? EndOfLost(status) : RpcEnd::kAnswered;
}

// A connection that ends sooner, and without an answer, was of no use.
constexpr std::chrono::milliseconds kShortLife{250};
// The wait before Health looks again for a connection that is being made anew.
constexpr std::chrono::milliseconds kDialWait{5};

}  // namespace

bool RpcContexts::Add(Place& place) {
  const MutexLock lock(mutex_);
  if (aborted_) return false;
  place.after_ = first_;
  if (first_ != nullptr) first_->before_ = &place;
  first_ = &place;
  ++size_;
  place.is_added_ = true;
  return true;
}

void RpcContexts::Remove(Place& place) {
  const MutexLock lock(mutex_);
  if (!place.is_added_) return;
  (place.before_ == nullptr ? first_ : place.before_->after_) = place.after_;
  if (place.after_ != nullptr) place.after_->before_ = place.before_;
  --size_;
  place.is_added_ = false;
}

void RpcContexts::Abort() {
  const MutexLock lock(mutex_);
  aborted_ = true;
  for (Place* place = first_; place != nullptr; place = place->after_) place->context_->TryCancel();
}

int RpcContexts::size() const {
  const MutexLock lock(mutex_);
  return size_;
}

Result<std::shared_ptr<GrpcWire>> GrpcWire::On(UniqueFd connected, const GrpcPeer& peer) {
  UniqueFd watched(fcntl(connected.get(), F_DUPFD_CLOEXEC, 0));
  if (!watched.valid()) return Fail(ErrnoError("cannot watch the connection", errno));
  return std::make_shared<GrpcWire>(MakeChannel(peer, std::move(connected)), std::move(watched));
}

GrpcWire::GrpcWire(std::shared_ptr<grpc::Channel> channel, UniqueFd watched)
    : channel_(std::move(channel)), service_(channel_), watched_(std::move(watched)) {}

bool GrpcWire::IsClosedWithin(std::chrono::milliseconds time) const {
  pollfd watched{.fd = watched_.get(), .events = POLLRDHUP, .revents = 0};
  const SteadyTime end = std::chrono::steady_clock::now() + time;
  for (;;) {
    const int ready = poll(&watched, 1, static_cast<int>(time.count()));
    if (ready >= 0 || errno != EINTR) return ready > 0;
    time = std::max(milliseconds(0),
                    std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now()));
  }
}

size_t GrpcWire::UnreadBytes() const {
  int bytes = 0;
  return ioctl(watched_.get(), FIONREAD, &bytes) == 0 ? static_cast<size_t>(bytes) : 0;
}

GrpcLink::GrpcLink(asio::io_context& io, const GrpcPeer& peer, std::shared_ptr<GrpcWire> wire)
    : io_(io), peer_(peer), wire_(std::move(wire)) {}

void GrpcLink::Abort() {
  calls_.Abort();
  asks_.Abort();
}

Result<std::shared_ptr<GrpcWire>> GrpcLink::Wire() {
  const MutexLock lock(mutex_);
  if (lost_) return Fail(*lost_);
  if (!dial_) {
    if (wire_->TakesRpcs()) return wire_;
    const SteadyTime now = std::chrono::steady_clock::now();
    if (answered_.exchange(false) || now - wire_made_ > kShortLife) refused_since_ = now;
    if (now - refused_since_ > GrpcDial::kLimit) {
      return Lose("and so it did with each new one for " +
                  std::to_string(GrpcDial::kLimit.count()) + " ms, before it answered a call");
    }
    dial_.emplace(peer_.address, peer_.check);
  }
  auto connected = dial_->Step(std::chrono::steady_clock::now());
  if (!connected) {
    if (connected.error().code == ErrorCode::kUnavailable)
      return Fail(std::move(connected.error()));
    return Lose(connected.error().message);
  }
  dial_.reset();
  auto wire = GrpcWire::On(std::move(*connected), peer_);
  // It is the pool that is short of descriptors: the worker is not to pay for it.
  if (!wire) return Fail(ErrorCode::kUnavailable, std::move(wire.error().message));
  wire_ = std::move(*wire);
  wire_made_ = std::chrono::steady_clock::now();
  return wire_;
}

bool GrpcLink::IsReplaced(const GrpcWire& wire) {
  const MutexLock lock(mutex_);
  return wire_.get() != &wire && !wire_->IsClosed();
}

tl::unexpected<Error> GrpcLink::Lose(const std::string& why) {
  dial_.reset();
  lost_ = Error{.code = ErrorCode::kWorkerLost,
                .message = "the worker closed its connection (" + why + ")"};
  return Fail(*lost_);
}

void GrpcLink::SetUp(grpc::ClientContext* context, SteadyTime deadline) const {
  const auto left = deadline - std::chrono::steady_clock::now();
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::duration_cast<std::chrono::system_clock::duration>(left));
  context->AddMetadata("snakepit-token", peer_.token);
}

RpcEnd GrpcLink::AwaitEnd(GrpcWire& wire, const grpc::Status& status) {
  if (!MayBeLoss(status)) return RpcEnd::kAnswered;
  if (wire.IsClosed()) return EndOfLost(status);
  if (MayBeRefusal(status)) {
    for (milliseconds wait = kLookWait; !wire.refuses(); wait *= 2) {
      const std::optional<grpc::Status> health = Probe(wire);
      if (wire.IsClosed()) return EndOfLost(status);
      if (wire.refuses()) break;
      if (!health || !MayBeRefusal(*health) || wait > kLongestProbeWait) return RpcEnd::kAnswered;
      if (wire.IsClosedWithin(wait)) return EndOfLost(status);
    }
  }
  // An RPC on a connection that takes no more may still end with the status of its handler.
  if (wire.refuses() && IsUnsent(status)) return RpcEnd::kUnsent;
  if (MayBeRefusal(status) && IsReplaced(wire)) return RpcEnd::kAnswered;
  if (wire.IsClosedWithin(kCloseLag)) return EndOfLost(status);
  return EndOfOpen(wire, status);
}

void GrpcLink::FindEnd(const std::shared_ptr<GrpcWire>& wire, const grpc::Status& status,
                       std::function<void(RpcEnd)> done) {
  if (!MayBeLoss(status)) return done(RpcEnd::kAnswered);
  ProbeForEnd(wire, status, kLookWait, std::move(done));
}

std::optional<grpc::Status> GrpcLink::Probe(GrpcWire& wire) {
  grpc::ClientContext context;
  SetUp(&context, std::chrono::steady_clock::now() + kRefusalWait);
  const RpcContexts::Entry entry(asks_, &context);
  if (!entry.added()) return std::nullopt;
  HealthRequest request;
  request.set_worker_id(worker_id());
  GrpcReply<HealthResponse> reply;
  grpc::Status health = wire.service().health.Call(&context, request, &reply);
  if (IsUnsent(health)) wire.SetRefusing();
  return health;
}

void GrpcLink::ProbeForEnd(const std::shared_ptr<GrpcWire>& wire, const grpc::Status& status,
                           milliseconds wait, std::function<void(RpcEnd)> done) {
  if (wire->IsClosed() || !MayBeRefusal(status) || wire->refuses()) {
    return LookForLoss(wire, status, std::chrono::steady_clock::now() + kCloseLag, std::move(done));
  }
  auto rpc = NewHealthRpc(wire, std::chrono::steady_clock::now() + kRefusalWait);
  Start(wire->service().health, asks_, rpc,
        [self = shared_from_this(), wire, status, wait,
         done = std::move(done)](const grpc::Status& health) mutable {
          if (IsUnsent(health)) wire->SetRefusing();
          if (wire->refuses() || !MayBeRefusal(health) || wait > kLongestProbeWait ||
              self->aborted()) {
            const auto lag = wire->refuses() ? kCloseLag : milliseconds(0);
            return self->LookForLoss(wire, status, std::chrono::steady_clock::now() + lag,
                                     std::move(done));
          }
          auto timer = std::make_shared<asio::steady_timer>(self->io_, wait);
          timer->async_wait(
              [self, wire, timer, status, wait, done = std::move(done)](asio::error_code) mutable {
                self->ProbeForEnd(wire, status, 2 * wait, std::move(done));
              });
        });
}

void GrpcLink::LookForLoss(const std::shared_ptr<GrpcWire>& wire, const grpc::Status& status,
                           SteadyTime until, std::function<void(RpcEnd)> done) {
  if (wire->IsClosed()) return done(EndOfLost(status));
  if (wire->refuses() && IsUnsent(status)) return done(RpcEnd::kUnsent);
  if (MayBeRefusal(status) && IsReplaced(*wire)) return done(RpcEnd::kAnswered);
  if (std::chrono::steady_clock::now() >= until) return done(EndOfOpen(*wire, status));
  auto timer = std::make_shared<asio::steady_timer>(io_, kLookWait);
  timer->async_wait([self = shared_from_this(), wire, timer, status, until,
                     done = std::move(done)](asio::error_code) mutable {
    self->LookForLoss(wire, status, until, std::move(done));
  });
}

std::shared_ptr<GrpcLink::HealthRpc> GrpcLink::NewHealthRpc(std::shared_ptr<GrpcWire> wire,
                                                            SteadyTime deadline) const {
  auto rpc = NewRpc<HealthRequest, HealthResponse>(std::move(wire), deadline);
  rpc->request.set_worker_id(worker_id());
  return rpc;
}

void GrpcLink::AskHealth(SteadyTime deadline, std::function<void(const HealthAnswer&)> done) {
  AskHealth(deadline, /*is_last=*/false, std::move(done));
}

void GrpcLink::AskHealth(SteadyTime deadline, bool is_last,
                         std::function<void(const HealthAnswer&)> done) {
  auto wire = Wire();
  if (!wire) {
    const bool goes_on = wire.error().code != ErrorCode::kWorkerLost && !aborted();
    if (!goes_on || std::chrono::steady_clock::now() + kDialWait >= deadline) {
      return EndWithoutWire(wire.error(), std::move(done));
    }
    auto timer = std::make_shared<asio::steady_timer>(io_, kDialWait);
    return timer->async_wait([self = shared_from_this(), timer, deadline, is_last,
                              done = std::move(done)](asio::error_code) mutable {
      self->AskHealth(deadline, is_last, std::move(done));
    });
  }
  auto rpc = NewHealthRpc(*wire, deadline);
  Start((*wire)->service().health, asks_, rpc,
        [self = shared_from_this(), rpc, deadline, is_last,
         done = std::move(done)](const grpc::Status& status) {
          if (self->aborted()) return done({status, RpcEnd::kAnswered, rpc->reply});
          if (status.ok()) self->SetAnswered();
          self->FindEnd(rpc->wire, status,
                        [self, deadline, is_last, status, rpc, done](RpcEnd end) {
                          if (end == RpcEnd::kUnsent && !is_last) {
                            return self->AskHealth(deadline, /*is_last=*/true, done);
                          }
                          done({status, end, rpc->reply});
                        });
        });
}

void GrpcLink::EndWithoutWire(const Error& error, std::function<void(const HealthAnswer&)> done) {
  const RpcEnd end = error.code == ErrorCode::kWorkerLost ? RpcEnd::kLost : RpcEnd::kAnswered;
  asio::post(io_, [end, text = error.message, done = std::move(done)] {
    const GrpcReply<HealthResponse> none;
    const grpc::Status status(grpc::StatusCode::UNAVAILABLE, text);
    done({status, end, none});
  });
}

}  // namespace snakepit
