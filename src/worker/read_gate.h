// How many requests over gRPC a worker reads, or has read and not begun, at one time.
#ifndef SNAKEPIT_SRC_WORKER_READ_GATE_H_
#define SNAKEPIT_SRC_WORKER_READ_GATE_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

namespace snakepit {

// A request that is not let in stays with the client, whose transport is held back. So however many
// calls a client makes, what they hold of this process is bounded. PROTOCOL.md 6.8.3. Usable from
// any thread.
class ReadGate {
 public:
  class Request {
   public:
    virtual ~Request() = default;
    // It is let in: to be read now, and to leave later.
    virtual void Read() = 0;
  };

  explicit ReadGate(size_t most_inside) : most_inside_(most_inside) {}

  // Lets the request in, at once or when its turn has come.
  void Enter(std::shared_ptr<Request> request);

  // For a request that waits no more: true when it will not be let in.
  bool Withdraw(const Request* request);

  // Makes room for another. To be called once by each that was let in.
  void Leave();

 private:
  const size_t most_inside_;
  std::mutex mutex_;
  size_t inside_ = 0;
  std::deque<std::shared_ptr<Request>> waiting_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_READ_GATE_H_
