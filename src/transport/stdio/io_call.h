// A call on stdio that no thread waits for.
#ifndef SNAKEPIT_TRANSPORT_STDIO_IO_CALL_H_
#define SNAKEPIT_TRANSPORT_STDIO_IO_CALL_H_

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "src/base/mutex.h"
#include "src/transport/connection.h"
#include "src/transport/stdio/link.h"
#include "src/transport/stdio/receiver.h"

namespace snakepit {

// The parts of a call that its receiver points to.
struct StdioIoCallParts {
  const CallRequest request_;
  const ChunkCallback on_chunk_;  // null: no stream
};

// A call, a stream, or a question of the pool's own. The io thread takes its messages and
// runs its callbacks. All methods are for that thread, except where one says otherwise.
class StdioIoCall : private StdioIoCallParts,
                    public StdioReceiver,
                    public std::enable_shared_from_this<StdioIoCall> {
 public:
  // Runs once, with the call that has its outcome.
  using Done = std::function<void(StdioCall& ended)>;
  enum class Kind {
    kCall,
    kQuestion,  // which cannot be cancelled
  };

  // `on_chunk` is null for a call that is no stream. The link outlives this, or the turns of this
  // keep it.
  StdioIoCall(StdioLink& link, const CallRequest& request, ChunkCallback on_chunk, Done done,
              Kind kind = Kind::kCall)
      : StdioIoCallParts{request, std::move(on_chunk)},
        StdioReceiver(link.agreement(), request_, on_chunk_ == nullptr ? nullptr : &on_chunk_),
        link_(link),
        done_(std::move(done)),
        kind_(kind) {}

  Kind kind() const { return kind_; }

  // From now on a stop that is asked for ends the call.
  void WatchStop();

  // With the lock of the link, on any thread.
  void Hand(Mail mail) override;

  // Its end before it is sent.
  void Refuse(Error error);
  // Its end without a message; `done` runs later. The lock of the link may be held.
  void GiveUp(Error error, AfterCall after);

 private:
  // Takes what has come since the last turn, and no more: a stream may always have more.
  void StreamTurn();
  void TakeAll();
  // True if the value is decoded now. Else it is decoded apart, and TakeAll goes on after it.
  bool IsDecoded(Mail& mail);
  // `is_last`: of the message as it came; the worker sends no more for this call.
  void TakeOne(Mail mail, bool is_last);
  void End(StdioCall::Next next, bool is_last);
  // Destroys `done_` after its call, with what the user's callbacks have captured: the last owner
  // of this object may be a thread that holds the lock of the link.
  void CallDone() { std::exchange(done_, nullptr)(call()); }

  StdioLink& link_;
  Done done_;  // null once it has been called
  const Kind kind_;
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;
  std::vector<Mail> inbox_ ABSL_GUARDED_BY(link_.mutex());  // of a stream
  bool is_turn_posted_ ABSL_GUARDED_BY(link_.mutex()) = false;
  std::deque<Mail> taken_;    // from the inbox
  bool is_decoding_ = false;  // the first of them, apart
  bool has_ended_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_IO_CALL_H_
