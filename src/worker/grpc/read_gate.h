// Limits the requests over gRPC that a worker reads, or has read and not begun, at one time.
#ifndef SNAKEPIT_WORKER_GRPC_READ_GATE_H_
#define SNAKEPIT_WORKER_GRPC_READ_GATE_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <list>
#include <memory>
#include <optional>

#include "src/base/mutex.h"

namespace snakepit {

// Longest time that the message of a request may be on its way while other requests wait.
inline constexpr std::chrono::seconds kArrivalLimit{20};

// A request that is not let in stays with the client, whose transport feels the backpressure. So
// the calls of a client take a bounded part of this process, however many they are.
// PROTOCOL.md 6.8.3. Usable from any thread.
class ReadGate {
 public:
  using Clock = std::chrono::steady_clock;

  class Request {
   public:
    virtual ~Request() = default;
    // Lets it in: read it now, and call Arrive and Leave later.
    virtual void Read() = 0;
    // Its message has not come in time: refuse it now, and call Leave later.
    virtual void GiveUp() = 0;

   private:
    friend class ReadGate;
    std::atomic<Clock::time_point> read_since_{Clock::time_point::max()};
    // Guarded by the gate's mutex_, which the analysis cannot express.
    bool is_unread_ = false;
    std::list<std::shared_ptr<Request>>::iterator place_;  // while it is unread
  };

  ReadGate(size_t most_inside, Clock::duration arrival_limit)
      : most_inside_(most_inside), arrival_limit_(arrival_limit) {}

  // Lets the request in: at once, or false and when its turn has come.
  bool Enter(std::shared_ptr<Request> request);

  // Takes a waiting request back. True when it will not be let in.
  bool Withdraw(const Request* request);

  // Says that its message has come, or never will. False when it was given up.
  bool Arrive(Request* request);

  // Makes room for another. Each request that was let in calls it once.
  void Leave();

  // If requests wait, gives those up whose messages have not come in time, and says when to look
  // again.
  std::optional<Clock::time_point> GiveUpLate();

 private:
  void LetIn(const std::shared_ptr<Request>& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Call it without mutex_.
  static void Read(Request& request);

  const size_t most_inside_;
  const Clock::duration arrival_limit_;
  Mutex mutex_;
  size_t inside_ ABSL_GUARDED_BY(mutex_) = 0;
  // The requests inside whose messages have not come.
  std::list<std::shared_ptr<Request>> unread_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Request>> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_READ_GATE_H_
