#include "src/transport/conversation.h"

#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <utility>

namespace snakepit {
namespace {

using Progress = FrameChannel::Progress;

enum class Step { kEnded, kBlocked, kBlockedWriting };

// As far as it goes without waiting.
Step Continue(Conversation& conversation, FrameChannel& channel) {
  for (;;) {
    Progress progress = channel.Advance();
    switch (progress.kind) {
      case Progress::Kind::kPayload:
        if (conversation.OnPayload(progress.payload)) return Step::kEnded;
        break;
      case Progress::Kind::kBlocked:
        return progress.wants_write ? Step::kBlockedWriting : Step::kBlocked;
      case Progress::Kind::kClosed:
        conversation.OnFailure(Conversation::Failure::kClosed, std::move(progress.error));
        return Step::kEnded;
      case Progress::Kind::kBroken:
        conversation.OnFailure(Conversation::Failure::kBroken, std::move(progress.error));
        return Step::kEnded;
    }
  }
}

class AsyncRun : public std::enable_shared_from_this<AsyncRun> {
 public:
  AsyncRun(asio::io_context& io, std::shared_ptr<Conversation> conversation,
           std::shared_ptr<FrameChannel> channel, std::function<void()> done)
      : conversation_(std::move(conversation)),
        channel_(std::move(channel)),
        done_(std::move(done)),
        readable_(io, channel_->read_fd()),
        writable_(io, channel_->write_fd()),
        timer_(io) {}

  ~AsyncRun() { Release(); }

  void Start(SteadyTime deadline) {
    timer_.expires_at(deadline);
    timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (error || self->ended_) return;
      self->conversation_->OnFailure(Conversation::Failure::kDeadline, Error{});
      self->End();
    });
    Go();
  }

 private:
  void Go() {
    if (ended_) return;
    const Step step = Continue(*conversation_, *channel_);
    if (step == Step::kEnded) return End();
    if (step == Step::kBlockedWriting && !std::exchange(waits_to_write_, true)) {
      writable_.async_wait(asio::posix::descriptor_base::wait_write,
                           [self = shared_from_this()](const asio::error_code& error) {
                             self->waits_to_write_ = false;
                             if (!error) self->Go();
                           });
    }
    // Who writes waits to read too: the worker may take no more until its own output is taken.
    if (!std::exchange(waits_to_read_, true)) {
      readable_.async_wait(asio::posix::descriptor_base::wait_read,
                           [self = shared_from_this()](const asio::error_code& error) {
                             self->waits_to_read_ = false;
                             if (!error) self->Go();
                           });
    }
  }

  void End() {
    ended_ = true;
    timer_.cancel();
    Release();
    std::exchange(done_, nullptr)();
  }

  // The descriptors are the channel's to close.
  void Release() {
    if (readable_.is_open()) readable_.release();
    if (writable_.is_open()) writable_.release();
  }

  const std::shared_ptr<Conversation> conversation_;
  const std::shared_ptr<FrameChannel> channel_;
  std::function<void()> done_;
  asio::posix::stream_descriptor readable_;
  asio::posix::stream_descriptor writable_;
  asio::steady_timer timer_;
  bool waits_to_read_ = false;
  bool waits_to_write_ = false;
  bool ended_ = false;
};

}  // namespace

void RunBlocking(Conversation& conversation, FrameChannel& channel, AdaptiveWait& wait,
                 SteadyTime deadline) {
  for (;;) {
    const Step step = Continue(conversation, channel);
    if (step == Step::kEnded) return;
    const int write_fd = step == Step::kBlockedWriting ? channel.write_fd() : -1;
    if (wait.Wait(channel.read_fd(), write_fd, deadline) == AdaptiveWait::Outcome::kDeadline) {
      return conversation.OnFailure(Conversation::Failure::kDeadline, Error{});
    }
  }
}

void RunAsync(asio::io_context& io, std::shared_ptr<Conversation> conversation,
              std::shared_ptr<FrameChannel> channel, SteadyTime deadline,
              std::function<void()> done) {
  std::make_shared<AsyncRun>(io, std::move(conversation), std::move(channel), std::move(done))
      ->Start(deadline);
}

}  // namespace snakepit
