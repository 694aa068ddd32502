// The wait of the thread that reads a channel.
#ifndef SNAKEPIT_TRANSPORT_STDIO_CHANNEL_WAIT_H_
#define SNAKEPIT_TRANSPORT_STDIO_CHANNEL_WAIT_H_

#include <poll.h>

#include <atomic>

#include "src/base/adaptive_wait.h"
#include "src/base/wakeup.h"
#include "src/transport/connection.h"
#include "src/transport/stdio/frame_channel.h"

namespace snakepit {

class ChannelWait {
 public:
  enum class Outcome {
    kReadable,
    kLookAround,  // it was woken, or there may be room to write
    kDeadline,    // and it may have been woken
  };

  // False if the system had no descriptor to give; errno says why.
  bool valid() const { return wakeup_.valid(); }

  // Returns when there is something to read, room for what is unsent, or something to look at. One
  // thread at a time.
  Outcome Wait(const FrameChannel& channel, SteadyTime deadline) {
    const int write_fd = channel.has_unsent() ? channel.write_fd() : -1;
    pollfd entries[] = {{.fd = channel.read_fd(), .events = POLLIN, .revents = 0},
                        {.fd = wakeup_.fd(), .events = POLLIN, .revents = 0},
                        {.fd = write_fd, .events = POLLOUT, .revents = 0}};
    const auto outcome = wait_.Wait(entries, deadline);
    if (outcome == AdaptiveWait::Outcome::kDeadline) return Outcome::kDeadline;
    return write_fd < 0 && !woken_ ? Outcome::kReadable : Outcome::kLookAround;
  }

  // Ends a wait, or the next one. From any thread.
  void Wake() {
    if (!woken_.exchange(true)) wakeup_.Wake();
  }
  // Before a look at what the wake-ups were for.
  void Clear() {
    if (!woken_) return;
    wakeup_.Clear();
    woken_ = false;
  }

 private:
  const Wakeup wakeup_;
  std::atomic<bool> woken_ = false;
  AdaptiveWait wait_;  // only used by the thread that waits
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_CHANNEL_WAIT_H_
