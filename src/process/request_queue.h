// The queue of requests to the guardian.
#ifndef SNAKEPIT_PROCESS_REQUEST_QUEUE_H_
#define SNAKEPIT_PROCESS_REQUEST_QUEUE_H_

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <vector>

#include "src/base/fd.h"
#include "src/base/mutex.h"
#include "src/process/guardian/protocol.h"

namespace snakepit {

// Sends requests in order and never waits. If the socket has no room for a request, it and all
// later ones are kept until Flush. All methods from any thread.
class RequestQueue {
 public:
  using Request = guardian_protocol::Request;
  using Time = std::chrono::steady_clock::time_point;

  // `socket` is borrowed: of type SOCK_SEQPACKET, and open for as long as this object is used.
  explicit RequestQueue(int socket) : socket_(socket) {}

  // Returns 0, or the errno of a request that was neither sent nor kept: EBADF, EPIPE, EMFILE. The
  // descriptors are borrowed: a kept request has copies.
  int Send(const Request& request, const int* fds, size_t fd_count);

  // Sends the kept requests. 0: none is left. EAGAIN: call again when the socket is writable.
  // Another errno: call again in a moment, since no event will tell.
  int Flush();

  // The guardian has answered its oldest unanswered request.
  void Answered();
  // Start of the guardian's current silence; nothing if it owes no answer.
  std::optional<Time> unanswered_since() const;

 private:
  struct Kept {
    Request request;
    std::vector<UniqueFd> fds;
  };

  const int socket_;
  mutable Mutex mutex_;
  std::deque<Kept> kept_ ABSL_GUARDED_BY(mutex_);
  size_t unanswered_ ABSL_GUARDED_BY(mutex_) = 0;
  Time unanswered_since_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_REQUEST_QUEUE_H_
