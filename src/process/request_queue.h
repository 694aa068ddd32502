// The requests on their way to the guardian.
#ifndef SNAKEPIT_SRC_PROCESS_REQUEST_QUEUE_H_
#define SNAKEPIT_SRC_PROCESS_REQUEST_QUEUE_H_

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <vector>

#include "src/base/fd.h"
#include "src/base/mutex.h"
#include "src/process/guardian_protocol.h"

namespace snakepit {

// Sends requests in their order and never waits: where the socket has no room for one, that and
// all later ones are kept until Flush. All methods from any thread.
class RequestQueue {
 public:
  using Request = guardian_protocol::Request;
  using Time = std::chrono::steady_clock::time_point;

  // `socket` is the caller's: of type SOCK_SEQPACKET, open for as long as this is used.
  explicit RequestQueue(int socket) : socket_(socket) {}

  // 0, or the errno of a request that was neither sent nor kept: EBADF, EPIPE, EMFILE. The
  // descriptors are borrowed: one that is kept has copies.
  int Send(const Request& request, const int* fds, size_t fd_count);

  // Sends what was kept. 0: nothing is left. EAGAIN: more can be sent when the socket takes it.
  // Another errno: to be tried again in a moment, as no event will tell.
  int Flush();

  // The guardian has answered the oldest request that it had not answered.
  void Answered();
  // How long it has answered nothing, though it has been asked; nothing: no answer is owed.
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

#endif  // SNAKEPIT_SRC_PROCESS_REQUEST_QUEUE_H_
