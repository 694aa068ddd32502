// The connection to a worker on stdio: many calls on one channel. PROTOCOL.md 2, 3 and 6.
#ifndef SNAKEPIT_TRANSPORT_STDIO_CONNECTION_H_
#define SNAKEPIT_TRANSPORT_STDIO_CONNECTION_H_

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/adaptive_wait.h"
#include "src/base/fd.h"
#include "src/base/wakeup.h"
#include "src/transport/apart.h"
#include "src/transport/connection.h"
#include "src/transport/stdio/call.h"
#include "src/transport/stdio/frame_channel.h"
#include "src/wire/pool_side/handshake.h"
#include "src/wire/pool_side/message.h"

namespace snakepit {

// Many calls on one channel. PROTOCOL.md 6.8.
//
// Whoever needs a reply reads: at any time at most one is the reader, a thread that waits for its
// own call, or the io_context's thread where nobody else does, for asynchronous calls and for those
// that were given up. The reader hands the others what is theirs, and passes its role on when it
// has what it wanted. So a thread that is alone does its own I/O, without a hop. Of a large reply a
// reader decodes no more than whom it is for; the value is decoded without the role, by the thread
// that waits for it, or else apart, and no longer than until the deadline of the call. So it is
// with any reply while a call is given up: what nobody waits for is not decoded.
class StdioConnection : public Connection, public std::enable_shared_from_this<StdioConnection> {
 public:
  StdioConnection(asio::io_context& io, std::shared_ptr<FrameChannel> channel,
                  size_t max_decoded_bytes, std::chrono::milliseconds cancel_grace)
      : io_(io),
        channel_(std::move(channel)),
        limits_{.max_bytes = max_decoded_bytes},
        cancel_grace_(cancel_grace),
        readable_(io),
        writable_(io),
        timer_(io) {}

  ~StdioConnection() override { ReleaseDescriptors(); }

  // False when the system had no descriptor to give; errno says why.
  bool valid() const { return wakeup_.valid(); }

  // Sends the offer; `done` runs once, on the io_context's thread. To be called there, before all
  // else.
  void Negotiate(Offer offer, SteadyTime deadline, std::function<void(Result<void>)> done);

  // Instead of a negotiation: the legacy protocol.
  void Assume(Codec codec) {
    agreement_.codec = codec;
    agreement_.max_frame_bytes = channel_->max_frame_bytes();
  }

  const Agreement& agreement() const override { return agreement_; }

  CallOutcome<Value> Call(const CallRequest& request) override;

  CallOutcome<int64_t> Stream(const CallRequest& request, const ChunkCallback& on_chunk) override;

  void CallAsync(const CallRequest& request, std::function<void(CallOutcome<Value>)> done) override;

  void StreamAsync(const CallRequest& request, ChunkCallback on_chunk,
                   std::function<void(CallOutcome<int64_t>)> done) override;

  void CheckHealth(SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) override;

  void EndSession(const std::string& session_id, std::function<void()> told) override;

  // EOF on its stdin. PROTOCOL.md 1.4.1.
  void AskToEnd() override { channel_->EndInput(); }
  void Abort() override { channel_->Abort(); }

 private:
  // What a stream may send before its caller takes it, in bytes. PROTOCOL.md 6.7. Enough to keep a
  // worker busy while the pool's grant is on its way.
  static constexpr int64_t kStreamCredit = 1 << 20;

  enum class Reader { kNobody, kThread, kIo };
  using Lock = std::unique_lock<std::mutex>;

  // What another thread has read for a call: a reply, or why there will be none, and then what the
  // connection is good for. kUsable stands for a payload that could not be decoded.
  struct Mail {
    Result<Reply> reply;
    size_t payload_bytes = 0;
    AfterCall after = AfterCall::kUsable;
    TakenPayload large = {};  // where there is one, the reply is without its value
  };

  // A call whose messages are kept until its own thread takes them.
  struct Receiver {
    Receiver(const Agreement& agreement, const CallRequest& request, const ChunkCallback* on_chunk)
        : call(agreement, request, on_chunk), credit(on_chunk == nullptr ? 0 : kStreamCredit) {}

    StdioCall call;  // only used by the thread that takes them
    uint64_t id = 0;
    int64_t taken_bytes = 0;  // of chunks, since the last grant of credit
    // Guarded by mutex_.
    std::vector<Mail> inbox;
    int64_t credit;  // of a stream: what the worker may send still, in bytes
  };

  // A thread in Call or Stream.
  struct Waiter : Receiver {
    using Receiver::Receiver;

    // Guarded by mutex_.
    std::condition_variable changed;
    bool waits = false;  // for `changed`
    bool stop_requested = false;
  };

  struct AsyncCall {
    AsyncCall(const Agreement& agreement, const CallRequest& request,
              std::function<void(CallOutcome<Value>)> done)
        : request(request), call(agreement, this->request, nullptr), done(std::move(done)) {}

    const CallRequest request;
    StdioCall call;
    std::function<void(CallOutcome<Value>)> done;
    std::optional<std::stop_callback<std::function<void()>>> on_stop;
    bool is_call = true;  // false: a question of the pool's own, which cannot be cancelled
  };

  // A stream of StreamAsync. The io_context's thread takes its messages.
  struct AsyncStream {
    AsyncStream(const Agreement& agreement, const CallRequest& request, ChunkCallback on_chunk,
                std::function<void(CallOutcome<int64_t>)> done)
        : request(request),
          on_chunk(std::move(on_chunk)),
          done(std::move(done)),
          receiver(agreement, this->request, &this->on_chunk) {}

    const CallRequest request;
    const ChunkCallback on_chunk;
    std::function<void(CallOutcome<int64_t>)> done;
    Receiver receiver;
    std::optional<std::stop_callback<std::function<void()>>> on_stop;
    bool turn_posted = false;  // guarded by mutex_
    // Only used on the io_context's thread.
    std::deque<Mail> taken;    // from the inbox
    bool is_decoding = false;  // the first of them, apart
    bool has_ended = false;
  };

  // What the worker has been sent, and has not ended. A thread waits for it, or it is asynchronous,
  // or else it was given up.
  struct InFlight {
    uint64_t begin = 0;  // of its request, in the bytes of the channel
    Waiter* waiter = nullptr;
    std::unique_ptr<AsyncCall> async = nullptr;
    std::shared_ptr<AsyncStream> stream = nullptr;
    std::function<void(AfterCall)> released = {};
    SteadyTime deadline = {};  // unless a thread waits

    bool is_awaited() const { return waiter != nullptr || async != nullptr || stream != nullptr; }
  };
  using Calls = std::unordered_map<uint64_t, InFlight>;

  struct Negotiation {
    Offer offer;
    std::function<void(Result<void>)> done;
  };
  static constexpr uint64_t kNegotiation = 0;  // its id among deadlines_

  Result<void> Encode(uint64_t id, const CallRequest& request, bool stream, std::string* frame);

  // --- A thread's call ---------------------------------------------------------------------------

  void Run(Waiter& me);
  // Until the call has its outcome.
  void Await(Waiter& me, Lock& lock);
  bool TakeMail(Waiter& me, Lock& lock);
  bool ReadUntilMail(Waiter& me, Lock& lock);

  bool MayReadLocked(const Waiter& me) const {
    return reader_ == Reader::kNobody || (reader_ == Reader::kIo && !io_in_turn_) ||
           (reader_ == Reader::kThread && reader_thread_ == &me);
  }

  void LeaveReadingLocked(const Waiter& me) {
    if (reader_ == Reader::kThread && reader_thread_ == &me) PassReadingOnLocked();
  }

  void OnStop(Waiter& me);

  // --- A call that takes its messages itself -----------------------------------------------------

  // Its caller wants no more of it: too late, or given up. Only for streams: a call ends with its
  // first message.
  std::optional<Error> WhyOver(const StdioCall& call) const;
  StdioCall::Next TakeMessage(Receiver& me, Mail& mail);
  void GrantCredit(Receiver& me);
  // After TakeMessage has said that the call ends.
  void EndLocked(Receiver& me, StdioCall::Next next);

  // The call has its outcome, and the worker may go on with it.
  AfterCall AbandonLocked(uint64_t id, std::function<void(AfterCall)> released);

  // --- Any reader --------------------------------------------------------------------------------

  Mail Open(std::string_view payload);
  bool IsAwaited(const Reply& reply);
  Result<Reply> Decode(const TakenPayload& payload, const CallRequest& request) const;
  void Deliver(Mail mail);
  void IgnoreLocked(const Reply& reply);
  void DeliverTo(Calls::iterator call, Mail mail);
  void NotifyLocked(const InFlight& call);
  void FailAllLocked(Error error, AfterCall after);
  void EraseLocked(Calls::iterator call);

  void PassReadingOnLocked();

  Waiter* WaitingThreadLocked() const;

  bool IoHasWorkLocked() const {
    return !closed_ && (for_io_ > 0 || negotiation_ || channel_->has_unsent());
  }

  void SendLocked(std::string* frame);

  // Somebody has to look at the channel, or at what has been asked of the calls.
  void WakeReaderLocked();

  void ClearWake();

  // --- The io_context's thread -------------------------------------------------------------------

  void BeginCall(uint64_t id, std::unique_ptr<AsyncCall> async, std::string* frame);
  // Its end where it cannot begin; `call` is then left as it is.
  std::optional<CallOutcome<Value>> BeginAsync(uint64_t id, InFlight&& call, std::string* frame);
  std::function<void()> StopOnIo(uint64_t id);
  void StopAsync(uint64_t id);
  void GiveUpAsyncLocked(uint64_t id, Error error);
  void DecodeForAsync(std::unique_ptr<AsyncCall> async, TakenPayload payload);
  void PostStreamTurnLocked(const std::shared_ptr<AsyncStream>& stream);
  void StreamTurn(const std::shared_ptr<AsyncStream>& stream);
  void TakeStreamMail(const std::shared_ptr<AsyncStream>& stream);
  void DecodeForStream(const std::shared_ptr<AsyncStream>& stream);
  void EndStream(AsyncStream& stream, StdioCall::Next next);
  void ExpireLocked(SteadyTime now);
  void IoTurn();
  void TakeIoTurn(Lock& lock);
  void ReadOnIo(Lock& lock);
  void OnOfferReply(std::string_view payload, Lock& lock);
  void WaitOnIo();
  void ArmTimerLocked();

  // The turn in which it ends reports it, once it has let go of mutex_.
  void EndNegotiationLocked(Result<void> result) {
    report_negotiation_ = [done = std::move(negotiation_->done), result = std::move(result)] {
      done(result);
    };
    negotiation_.reset();
  }

  void RequestIoTurnLocked();

  template <typename Function, typename Argument>
  void PostCallback(Function callback, Argument argument) {
    if (!callback) return;
    asio::post(io_, [callback = std::move(callback), argument = std::move(argument)]() mutable {
      callback(std::move(argument));
    });
  }

  // The descriptors are the channel's to close.
  void ReleaseDescriptors();

  asio::io_context& io_;
  const std::shared_ptr<FrameChannel> channel_;
  const Wakeup wakeup_;  // ends the wait of a thread that reads
  const DecodeLimits limits_;
  const std::chrono::milliseconds cancel_grace_;
  Agreement agreement_;
  std::atomic<uint64_t> last_id_ = 0;
  std::atomic<uint64_t> replies_ = 0;  // all that have come
  // Over 0 as long as a reply may come that nobody waits for: calls that were given up and whose
  // last message has not come, and one more for sends_unasked_.
  std::atomic<int> unawaited_ = 0;
  std::atomic<bool> woken_ = false;
  AdaptiveWait wait_;  // only used by a thread that reads

  std::mutex mutex_;
  Calls in_flight_;
  int overdue_ = 0;             // of unawaited_: calls that are not in flight any more
  bool sends_unasked_ = false;  // a reply came to a call that had had its last message
  Reader reader_ = Reader::kNobody;
  Waiter* reader_thread_ = nullptr;
  bool io_in_turn_ = false;  // the io_context's thread is reading just now
  bool turn_posted_ = false;
  int for_io_ = 0;                                       // calls in flight that no thread waits for
  std::set<std::pair<SteadyTime, uint64_t>> deadlines_;  // of these, and of the negotiation
  std::optional<Negotiation> negotiation_;
  std::function<void()> report_negotiation_;
  std::optional<CallOutcome<Value>> closed_;  // what a call gets from now on

  // Only used on the io_context's thread.
  asio::posix::stream_descriptor readable_;
  asio::posix::stream_descriptor writable_;
  asio::steady_timer timer_;
  std::optional<SteadyTime> armed_;
  bool waits_to_read_ = false;
  bool waits_to_write_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_CONNECTION_H_
