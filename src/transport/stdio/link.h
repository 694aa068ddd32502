// The shared part of all calls of a connection on stdio: the channel, and the way of each message
// to its call. PROTOCOL.md 2, 3 and 6.
#ifndef SNAKEPIT_TRANSPORT_STDIO_LINK_H_
#define SNAKEPIT_TRANSPORT_STDIO_LINK_H_

#include <asio/io_context.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/mutex.h"
#include "src/transport/connection.h"
#include "src/transport/stdio/call_table.h"
#include "src/transport/stdio/channel_wait.h"
#include "src/transport/stdio/frame_channel.h"
#include "src/transport/stdio/pump.h"
#include "src/transport/stdio/reader_role.h"
#include "src/transport/stdio/receiver.h"

namespace snakepit {

class StdioIoCall;
class StdioThreadCall;

// Many calls on one channel. PROTOCOL.md 6.8.
//
// The reader (see ReaderRole) decodes no more of a large reply than whom it is for. The value is
// decoded without the role: by the thread that waits for it, or else apart, and no longer than
// until the deadline of the call. The same holds for any reply while a call is abandoned: a value
// that nobody waits for is not decoded.
class StdioLink : public std::enable_shared_from_this<StdioLink>, private StdioPump::User {
 public:
  StdioLink(asio::io_context& io, std::shared_ptr<FrameChannel> channel, Agreement agreement,
            size_t max_decoded_bytes, std::chrono::milliseconds cancel_grace);

  // False if the system had no descriptor to give; errno says why.
  bool valid() const { return channel_wait_.valid(); }

  asio::io_context& io() const { return pump_.io(); }
  const Agreement& agreement() const { return agreement_; }
  FrameChannel& channel() const { return *channel_; }
  Mutex& mutex() ABSL_LOCK_RETURNED(mutex_) { return mutex_; }
  uint64_t NextId() { return ++counts_.last_id; }
  // Replies that have come so far.
  uint64_t replies() const { return replies_; }

  // Sends the request of a call of the io thread, on that thread.
  void Begin(std::shared_ptr<StdioIoCall> call, std::string* frame);

  // Sends a frame of no call. It comes before the requests of all later calls.
  void Send(std::string* frame);

  // The call has ended, by a message that need not be its last, or is given up.
  void End(StdioReceiver& call, StdioCall::Next next);
  // The caller of an IoCall asks for a stop.
  void Stop(uint64_t id);
  void GrantCredit(StdioReceiver& call, int64_t bytes);

  // The whole of a large reply, for its call. From any thread.
  Result<Reply> Decode(const TakenPayload& payload, const CallRequest& request) const;

 private:
  friend class StdioThreadCall;

  // --- Any reader --------------------------------------------------------------------------------

  // Decodes a payload as far as its reader does.
  Mail Open(std::string_view payload);
  // True if the message is for `me`, and is left in `mail`.
  bool Deliver(Mail& mail, const StdioReceiver* me) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailAll(Error error, AfterCall after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The call has its outcome, and the worker may go on with it.
  AfterCall Abandon(StdioReceiver& call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PassReadingOn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendLocked(std::string* frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The reader is to look at the channel, or at what has been asked of the calls.
  void WakeReader() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // After a change of the calls: `has_timer` says whether they had one before.
  void StopTimer(bool has_timer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RequestTurn() {
    if (!pump_.is_requested()) pump_.RequestTurn(Self());
  }

  // --- The io thread ----------------------------------------------------------------------------

  void OnTurn() override;
  void TakeTurn();
  // Reads what is there, but not for long. The error with which the channel ended.
  std::optional<StdioCallTable::Closed> ReadOnIo();
  bool IoHasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Expire(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveUp(StdioReceiver& call, Error error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::shared_ptr<StdioPump::User> Self() {
    return std::shared_ptr<StdioPump::User>(shared_from_this(), this);
  }

  const std::shared_ptr<FrameChannel> channel_;
  const Agreement agreement_;
  const DecodeLimits limits_;
  const std::chrono::milliseconds cancel_grace_;
  std::atomic<uint64_t> replies_ = 0;
  ChannelWait channel_wait_;
  StdioPump pump_;

  CallCounts counts_;

  Mutex mutex_;
  StdioCallTable calls_ ABSL_GUARDED_BY(mutex_);
  ReaderRole role_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_LINK_H_
