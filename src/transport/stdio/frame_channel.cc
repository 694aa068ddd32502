#include "src/transport/stdio/frame_channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <span>
#include <utility>

namespace snakepit {
namespace {

// A buffer that one large request made is not kept for the small ones that follow.
constexpr size_t kKeptOutgoingBytes = 256 * 1024;

}  // namespace

void FrameChannel::Append(std::string* frames) {
  const size_t size = frames->size();
  if (outgoing_.empty()) {
    outgoing_.swap(*frames);
  } else {
    // Small frames are sent together. A large one is copied neither here nor for the next one.
    std::string& last = behind_.empty() ? outgoing_ : behind_.back();
    if (last.size() + size <= kKeptOutgoingBytes) {
      last += *frames;
    } else {
      behind_.push_back(std::move(*frames));
    }
  }
  appended_ += size;
  frames->clear();
  if (frames->capacity() > kKeptOutgoingBytes) frames->shrink_to_fit();
}

void FrameChannel::Flush() {
  size_t may_send = kMostAFlush;
  while (!outgoing_.empty()) {
    if (may_send == 0) {
      has_unsent_ = true;
      return;
    }
    const ssize_t n =
        send(to_worker_.get(), outgoing_.data() + sent_of_outgoing_,
             std::min(outgoing_.size() - sent_of_outgoing_, may_send), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      const bool full = errno == EAGAIN || errno == EWOULDBLOCK;
      // The worker closed its stdin. Its last output may say why, so let Receive drain that first.
      if (!full) peer_takes_no_more_ = true;
      has_unsent_ = full;
      return;
    }
    sent_ += static_cast<uint64_t>(n);
    sent_of_outgoing_ += static_cast<size_t>(n);
    may_send -= static_cast<size_t>(n);
    if (sent_of_outgoing_ == outgoing_.size()) TakeNextOutgoing();
  }
  has_unsent_ = false;
}

void FrameChannel::TakeNextOutgoing() {
  sent_of_outgoing_ = 0;
  outgoing_.clear();
  if (outgoing_.capacity() > kKeptOutgoingBytes) outgoing_.shrink_to_fit();
  if (behind_.empty()) return;
  outgoing_ = std::move(behind_.front());
  behind_.pop_front();
}

FrameChannel::Progress FrameChannel::Receive() {
  using Kind = Progress::Kind;
  for (;;) {
    auto payload = reader_.Next();
    if (!payload) return {.kind = Kind::kBroken, .error = std::move(payload.error())};
    if (*payload) return {.kind = Kind::kPayload, .payload = **payload};

    std::span<char> room;
    try {
      room = reader_.Writable();
    } catch (const std::bad_alloc&) {
      return {.kind = Kind::kBroken,
              .error = {.code = ErrorCode::kInternal,
                        .message = "out of memory after " + reader_.DescribePartial()}};
    }
    const ssize_t n = recv(from_worker_.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (n > 0) {
      reader_.Commit(static_cast<size_t>(n));
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !peer_takes_no_more_) {
      return {.kind = Kind::kBlocked};
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
