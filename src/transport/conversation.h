// Conversation: what is done with the frames of a channel until a purpose is reached; run either on
// the calling thread or on the io_context's.
#ifndef SNAKEPIT_TRANSPORT_CONVERSATION_H_
#define SNAKEPIT_TRANSPORT_CONVERSATION_H_

#include <asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string_view>

#include "src/transport/adaptive_wait.h"
#include "src/transport/frame_channel.h"

namespace snakepit {

class Conversation {
 public:
  enum class Failure { kDeadline, kClosed, kBroken };

  virtual ~Conversation() = default;

  // The next frame. true: the purpose is reached.
  virtual bool OnPayload(std::string_view payload) = 0;

  // It cannot be reached any more. The error is FrameChannel::Progress's; empty for a deadline.
  virtual void OnFailure(Failure failure, Error error) = 0;
};

// Sends what is outgoing on the channel, and returns when the conversation has ended.
void RunBlocking(Conversation& conversation, FrameChannel& channel, AdaptiveWait& wait,
                 SteadyTime deadline);

// The same on the io_context's thread: `done` runs there when the conversation has ended, and all
// three are kept alive until then. The channel's descriptor is registered with the io_context for
// just that time, since else each reply to a blocking call would wake the thread.
void RunAsync(asio::io_context& io, std::shared_ptr<Conversation> conversation,
              std::shared_ptr<FrameChannel> channel, SteadyTime deadline,
              std::function<void()> done);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_CONVERSATION_H_
