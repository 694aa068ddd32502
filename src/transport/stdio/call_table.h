// The calls that a worker on stdio has been sent and has not ended. PROTOCOL.md 2.6 and 6.8.
#ifndef SNAKEPIT_TRANSPORT_STDIO_CALL_TABLE_H_
#define SNAKEPIT_TRANSPORT_STDIO_CALL_TABLE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "src/transport/connection.h"
#include "src/transport/stdio/receiver.h"

namespace snakepit {

// The counts of a table that are read without its lock.
struct CallCounts {
  // The calls so far have the ids from 1 to this.
  std::atomic<uint64_t> last_id = 0;
  // Over 0 as long as a message may come that no call awaits: calls without a receiver whose last
  // message has not come, and one more if the worker sends messages for calls that have ended.
  std::atomic<int> unawaited = 0;
};

// Finds the call that each message is for, and keeps the deadlines. A call has a receiver until it
// is abandoned: then its caller has the outcome, and only the worker's end of it is awaited. No I/O
// and no clock. Its user has a lock, and holds it for each method.
class StdioCallTable {
 public:
  using Released = std::function<void(AfterCall)>;
  // Has a callback called later, without the lock.
  using Post = std::function<void(Released, AfterCall)>;

  struct Closed {
    Error error;
    AfterCall after;
  };

  StdioCallTable(CallCounts& counts, Post post) : counts_(counts), post_(std::move(post)) {}

  // A call that its own thread waits for, and for whose deadline that thread sees. `begin` is the
  // place of its request in the bytes of the channel.
  void Add(StdioReceiver& receiver, uint64_t begin);
  // Any other.
  void Add(std::shared_ptr<StdioReceiver> receiver, uint64_t begin, SteadyTime deadline);

  // Hands a message to the receiver that it is for. The message for `me` is left in `mail` instead,
  // and the result is true. An error ends the connection, as kUnusable.
  Result<bool> Deliver(Mail& mail, const StdioReceiver* me);

  // The caller has the outcome. False if the call has ended meanwhile; `released` then does not
  // run.
  bool Abandon(uint64_t id, Released released, SteadyTime end_of_grace);
  // Nobody waits for the call any more, though its last message has not come.
  void Forget(uint64_t id);
  // The call ended by what is no last message.
  void Remove(uint64_t id);

  // Ends the abandoned calls whose grace is over. Returns the next call whose deadline has passed,
  // to be given up by the caller; null: none, or none but those of threads.
  std::shared_ptr<StdioReceiver> Expire(SteadyTime now);

  // Ends each call, and the connection with it. `sent` bytes of the channel have been sent: a call
  // whose request is beyond them has not run.
  void FailAll(Error error, AfterCall after, uint64_t sent);
  // The end that calls get from now on.
  const std::optional<Closed>& closed() const { return closed_; }

  bool IsAwaited(uint64_t id) const;
  // The call, unless it is a thread's or abandoned.
  std::shared_ptr<StdioReceiver> Find(uint64_t id) const;
  // True as long as messages may come that are no thread's.
  bool has_calls_of_no_thread() const { return !deadlines_.empty(); }
  // The first of the deadlines of calls that no thread waits for.
  std::optional<SteadyTime> next_deadline() const;

 private:
  struct Call {
    uint64_t begin = 0;
    StdioReceiver* receiver = nullptr;              // null: it was abandoned
    std::shared_ptr<StdioReceiver> kept = nullptr;  // the receiver, unless it is a thread's
    Released released = nullptr;
    std::optional<SteadyTime> deadline = std::nullopt;
  };
  using Calls = std::unordered_map<uint64_t, Call>;

  Result<bool> DeliverTo(Calls::iterator call, Mail& mail, const StdioReceiver* me);
  // A late message: PROTOCOL.md 2.6.4.
  void Ignore(const Reply& reply);
  void Erase(Calls::iterator call);

  CallCounts& counts_;
  const Post post_;
  Calls calls_;
  std::set<std::pair<SteadyTime, uint64_t>> deadlines_;  // of the calls that no thread waits for
  std::optional<Closed> closed_;
  int overdue_ = 0;             // of the unawaited calls: those that are not in the table any more
  bool sends_unasked_ = false;  // a message came for a call that had had its last one
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_CALL_TABLE_H_
