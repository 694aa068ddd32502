// The io thread's side of a channel: its turns. No lock.
#ifndef SNAKEPIT_TRANSPORT_STDIO_PUMP_H_
#define SNAKEPIT_TRANSPORT_STDIO_PUMP_H_

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <memory>
#include <optional>

#include "src/transport/connection.h"
#include "src/transport/stdio/frame_channel.h"

namespace snakepit {

// Has its user called on the io thread: when it is asked to, when the channel is ready,
// and at a time. Each of these keeps the user, which owns the pump, until then. On that thread
// alone, but for RequestTurn.
class StdioPump {
 public:
  class User {
   public:
    virtual void OnTurn() = 0;

   protected:
    ~User() = default;
  };

  // The descriptors stay the channel's to close.
  StdioPump(asio::io_context& io, const FrameChannel& channel)
      : io_(io), channel_(channel), readable_(io), writable_(io), timer_(io) {}
  ~StdioPump() { Release(); }

  asio::io_context& io() const { return io_; }

  // A turn soon, unless one has been asked for and has not begun. From any thread.
  void RequestTurn(std::shared_ptr<User> user);
  bool is_requested() const { return is_requested_; }
  void BeginTurn() { is_requested_ = false; }

  // A turn when there is something to read, and, if some of the frames are unsent, room to write.
  void WaitForChannel(const std::shared_ptr<User>& user);
  // The channel is another's to wait for.
  void Release();

  // A turn at that time, and not at an earlier one that was set; no time: at none.
  void SetTimer(std::optional<SteadyTime> time, const std::shared_ptr<User>& user);

 private:
  asio::io_context& io_;
  const FrameChannel& channel_;
  std::atomic<bool> is_requested_ = false;
  asio::posix::stream_descriptor readable_;
  asio::posix::stream_descriptor writable_;
  asio::steady_timer timer_;
  std::optional<SteadyTime> armed_;
  bool waits_to_read_ = false;
  bool waits_to_write_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_PUMP_H_
