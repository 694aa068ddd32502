#include "src/transport/grpc/probe.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "src/base/quote.h"
#include "src/base/shortage.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

// Between attempts to connect to a worker that has announced nothing: the wait grows by half, from
// the first to the last.
constexpr milliseconds kFirstRetry{5};
constexpr milliseconds kLastRetry{50};

// Between two looks at a connection on which nothing was said, or not enough.
constexpr milliseconds kTick{50};
// A server may wait for its client to speak first: after so many of them it is asked.
constexpr int kTicksToAsk = 2;
// So many looks at a connection that does not seem to be the worker's, before that is believed.
constexpr int kLooksToRefuse = 4;

// RFC 9113, 3.4 and 4.1: the preface of a client, with an empty SETTINGS frame.
constexpr std::string_view kPreface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
constexpr size_t kFrameHeaderBytes = 9;
constexpr size_t kMaxSettingsBytes = 16'384;

// The bytes that have come on a connection. They stay there.
struct Seen {
  std::string bytes;
  bool refused = false;
  bool closed = false;
};

Seen Peek(int fd) {
  char bytes[kQuotedBytes + 1];
  const ssize_t size = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  if (size > 0) return {.bytes = std::string(bytes, static_cast<size_t>(size))};
  const int error = size < 0 ? errno : 0;
  return {.refused = error == ECONNREFUSED, .closed = error != EAGAIN && error != EINTR};
}

Error NoGrpcServer(const GrpcAddress& address, std::string_view bytes) {
  return {.code = ErrorCode::kStartFailed,
          .message = "what listens at " + address.Text() + " is no gRPC server: it said " +
                     QuoteBytes(bytes) + ", where HTTP/2 begins with a SETTINGS frame"};
}

}  // namespace

ServerOpening OpeningOf(std::string_view bytes) {
  const auto at = [bytes](size_t i) { return i < bytes.size() ? uint8_t(bytes[i]) : 0u; };
  const size_t length = at(0) << 16 | at(1) << 8 | at(2);
  constexpr uint8_t kSettings = 4;
  constexpr uint8_t kAck = 1;
  if (length > kMaxSettingsBytes || (bytes.size() > 2 && length % 6 != 0) ||
      (bytes.size() > 3 && at(3) != kSettings) || (at(4) & kAck) != 0 ||
      (at(5) | at(6) | at(7) | at(8)) != 0) {
    return ServerOpening::kOther;
  }
  return bytes.size() < kFrameHeaderBytes ? ServerOpening::kTooFew : ServerOpening::kHttp2;
}

void GrpcProbe::Start(std::shared_ptr<const GrpcPeerCheck> check, SteadyTime deadline,
                      Serves serves, std::function<void(Error)> failed) {
  check_ = std::move(check);
  deadline_ = deadline;
  serves_ = std::move(serves);
  failed_ = std::move(failed);
  retry_ = kFirstRetry;
  Try();
}

void GrpcProbe::Announce(Result<GrpcAddress> address) {
  if (!serves_) return;
  if (!address) return FailWith(std::move(address.error()));
  address_ = std::move(*address);
  if (IsConnected() && tried_ == address_) return;
  Close("");
  Try();
}

void GrpcProbe::Stop() {
  serves_ = nullptr;
  failed_ = nullptr;
  timer_.cancel();
  Close("");
}

void GrpcProbe::Close(const char* why) {
  asio::error_code ignored;
  connection_.close(ignored);
  asking_.Reset();
  answers_ = false;
  silent_ticks_ = 0;
  refusals_ = 0;
  unseen_.clear();
  last_ = why;
}

void GrpcProbe::Try() {
  const ReadyFile ready = ReadReadyFile(folder_, ready_file_);
  if (ready.port) address_ = GrpcAddress{.port = *ready.port};
  tried_ = address_;
  if (address_) {
    if (auto fd = BeginConnect(*address_)) {
      asio::error_code unwatched;
      connection_.assign(fd->get(), unwatched);
      if (unwatched) {  // the system is short of something; it is tried again
        last_ = "";
        return GoOn();
      }
      (void)fd->Release();
      connection_.async_wait(asio::posix::stream_descriptor::wait_read,
                             [self = shared_from_this()](asio::error_code error) {
                               if (error || !self->connection_.is_open()) return;
                               self->Look();
                               self->GoOn();
                             });
    } else {
      const int why = errno;
      last_ = "";
      unseen_ = IsShortage(why) ? fd.error().message : "";
      if (why == EACCES) AllowOwner(folder_, address_->socket_path);
    }
  }
  GoOn();
}

void GrpcProbe::GoOn() {
  if (!serves_) return;
  if (IsConnected()) return TickLater(kTick);
  TickLater(retry_);
  retry_ = std::min(retry_ * 3 / 2, kLastRetry);
}

void GrpcProbe::TickLater(milliseconds wait) {
  if (std::chrono::steady_clock::now() + wait > deadline_) {
    return FailWith({.code = ErrorCode::kStartTimeout, .message = WhatIsMissing()});
  }
  timer_.expires_after(wait);
  timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (!error && self->serves_) self->Tick();
  });
}

void GrpcProbe::Tick() {
  if (asking_.valid()) {
    LookAtAnswer();
  } else if (connection_.is_open()) {
    Look();
  } else {
    return Try();
  }
  if (serves_ && answers_ && !connection_.is_open()) return Try();
  GoOn();
}

void GrpcProbe::Look() {
  const int fd = connection_.native_handle();
  const Seen seen = Peek(fd);
  if (seen.refused) return Close("");
  if (seen.closed) return Close("each connection is closed there without a word");
  if (seen.bytes.empty() && !answers_ && ++silent_ticks_ >= kTicksToAsk) return Ask();
  const bool waits_for_preface = seen.bytes.empty() && answers_;
  const ServerOpening opening = waits_for_preface ? ServerOpening::kHttp2 : OpeningOf(seen.bytes);
  if (opening == ServerOpening::kTooFew) return;
  if (opening == ServerOpening::kOther) return FailWith(NoGrpcServer(*tried_, seen.bytes));
  silent_ticks_ = 0;
  const auto peer = check_->Check(fd, *tried_);
  const bool is_short = !peer && peer.error().code == ErrorCode::kInternal;
  unseen_ = is_short ? peer.error().message : "";
  if (is_short) return;
  if (!peer && ++refusals_ >= kLooksToRefuse) return FailWith(peer.error());
  if (!peer || *peer == PeerState::kUnknown) return;
  UniqueFd connected(connection_.release());
  const auto serves = std::exchange(serves_, nullptr);
  Stop();
  serves(*tried_, std::move(connected));
}

// Instead of the other connection: there are servers that serve one at a time.
void GrpcProbe::Ask() {
  asio::error_code ignored;
  connection_.close(ignored);
  auto fd = BeginConnect(*tried_);
  if (fd && send(fd->get(), kPreface.data(), kPreface.size(), MSG_NOSIGNAL) > 0) {
    asking_ = std::move(*fd);
  }
}

void GrpcProbe::LookAtAnswer() {
  const Seen seen = Peek(asking_.get());
  if (seen.closed) return Close("a connection is closed there when it begins with HTTP/2");
  const ServerOpening opening = OpeningOf(seen.bytes);
  if (opening == ServerOpening::kOther) return FailWith(NoGrpcServer(*tried_, seen.bytes));
  answers_ = opening == ServerOpening::kHttp2;
  if (answers_) asking_.Reset();
}

void GrpcProbe::FailWith(Error error) {
  const auto failed = std::exchange(failed_, nullptr);
  Stop();
  failed(std::move(error));
}

std::string GrpcProbe::WhatIsMissing() const {
  if (!address_) {
    const std::string fault = ReadReadyFile(folder_, ready_file_).fault;
    return "it announced no address, on stdout or in the file that SNAKEPIT_READY_FILE names" +
           (fault.empty() ? "" : ", in whose place is " + fault);
  }
  if (!unseen_.empty()) {
    return "it cannot be told who listens at " + address_->Text() + ": " + unseen_;
  }
  if (IsConnected()) {
    return "a connection to " + address_->Text() +
           " was made, and nothing is said on it: a gRPC server begins with a SETTINGS frame";
  }
  if (*last_ != '\0') return last_ + (" (" + address_->Text() + ")");
  return "nothing accepts a connection at " + address_->Text();
}

}  // namespace snakepit
