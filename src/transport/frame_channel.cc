#include "src/transport/frame_channel.h"

#include <sys/socket.h>

#include <cerrno>

namespace snakepit {
namespace {

// A buffer that one large request made is not kept for the small ones that follow.
constexpr size_t kKeptOutgoingBytes = 256 * 1024;

}  // namespace

bool FrameChannel::Send() {
  while (sent_ < outgoing_.size()) {
    const ssize_t n = send(to_worker_.get(), outgoing_.data() + sent_, outgoing_.size() - sent_,
                           MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
      return false;
    }
    something_was_sent_ = true;
    sent_ += static_cast<size_t>(n);
  }
  sent_ = 0;
  outgoing_.clear();
  if (outgoing_.capacity() > kKeptOutgoingBytes) outgoing_.shrink_to_fit();
  return true;
}

FrameChannel::Progress FrameChannel::Advance() {
  using Kind = Progress::Kind;
  // A peer that takes no more may have said why before: what it sent is read first.
  const bool peer_reads = outgoing_.empty() || Send();
  for (;;) {
    auto payload = reader_.Next();
    if (!payload) return {.kind = Kind::kBroken, .error = std::move(payload.error())};
    if (*payload) return {.kind = Kind::kPayload, .payload = **payload};

    const std::span<char> room = reader_.Writable();
    const ssize_t n = recv(from_worker_.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (n > 0) {
      reader_.Commit(static_cast<size_t>(n));
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && peer_reads) {
      return {.kind = Kind::kBlocked, .wants_write = !outgoing_.empty()};
    }
    Error lost{.code = ErrorCode::kWorkerLost, .message = "the worker closed its connection"};
    if (!reader_.empty()) lost.message += " in the middle of " + reader_.DescribePartial();
    return {.kind = Kind::kClosed, .error = std::move(lost)};
  }
}

void FrameChannel::EndInput() { shutdown(to_worker_.get(), SHUT_RDWR); }

void FrameChannel::Abort() {
  shutdown(to_worker_.get(), SHUT_RDWR);
  shutdown(from_worker_.get(), SHUT_RDWR);
}

}  // namespace snakepit
