// How many requests over gRPC a worker reads, or has read and not begun, at one time.
#ifndef SNAKEPIT_WORKER_GRPC_READ_GATE_H_
#define SNAKEPIT_WORKER_GRPC_READ_GATE_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>

namespace snakepit {

// So long the message of a request may be on its way when others wait to be let in.
inline constexpr std::chrono::seconds kArrivalLimit{20};

// A request that is not let in stays with the client, whose transport is held back. So however many
// calls a client makes, what they hold of this process is bounded. PROTOCOL.md 6.8.3. Usable from
// any thread.
class ReadGate {
 public:
  using Clock = std::chrono::steady_clock;

  class Request {
   public:
    virtual ~Request() = default;
    // It is let in: to be read now, to arrive and to leave later.
    virtual void Read() = 0;
    // Its message has not come in time: it is to be refused. It leaves later.
    virtual void GiveUp() = 0;

   private:
    friend class ReadGate;
    std::atomic<Clock::time_point> read_since_{Clock::time_point::max()};
    // With the gate's mutex_.
    bool is_unread_ = false;
    std::list<std::shared_ptr<Request>>::iterator place_;  // then
  };

  ReadGate(size_t most_inside, Clock::duration arrival_limit)
      : most_inside_(most_inside), arrival_limit_(arrival_limit) {}

  // Lets the request in, at once or when its turn has come: false.
  bool Enter(std::shared_ptr<Request> request);

  // For a request that waits no more: true when it will not be let in.
  bool Withdraw(const Request* request);

  // Its message has come, or will not. False when it was given up.
  bool Arrive(Request* request);

  // Makes room for another. To be called once by each that was let in.
  void Leave();

  // Where others wait, gives those up whose messages have not come in time, and tells when to look
  // again.
  std::optional<Clock::time_point> GiveUpLate();

 private:
  // With mutex_ locked.
  void LetIn(const std::shared_ptr<Request>& request);
  // With mutex_ unlocked.
  static void Read(Request& request);

  const size_t most_inside_;
  const Clock::duration arrival_limit_;
  std::mutex mutex_;
  size_t inside_ = 0;
  std::list<std::shared_ptr<Request>> unread_;  // of those inside
  std::deque<std::shared_ptr<Request>> waiting_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_READ_GATE_H_
