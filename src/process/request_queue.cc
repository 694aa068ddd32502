#include "src/process/request_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

namespace snakepit {
namespace {

namespace protocol = guardian_protocol;

// Sends one packet with descriptors. Returns 0 or the errno.
int SendOnce(int socket, const protocol::Request& request, const int* fds, size_t fd_count) {
  iovec part = {const_cast<protocol::Request*>(&request), sizeof request};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * protocol::kMaxSpawnFds)] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd_count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
    std::memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
  }
  for (;;) {
    if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

// True if there is no room just now. ETOOMANYREFS: the guardian has yet to take the descriptors in
// flight: unix(7).
bool IsFull(int error) {
  return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == ETOOMANYREFS;
}

}  // namespace

int RequestQueue::Send(const Request& request, const int* fds, size_t fd_count) {
  const MutexLock lock(mutex_);
  const int error = kept_.empty() ? SendOnce(socket_, request, fds, fd_count) : EAGAIN;
  if (IsFull(error)) {
    Kept kept{.request = request, .fds = {}};
    for (size_t i = 0; i < fd_count; ++i) {
      kept.fds.emplace_back(fcntl(fds[i], F_DUPFD_CLOEXEC, 0));
      if (!kept.fds.back().valid()) return errno;
    }
    kept_.push_back(std::move(kept));
  } else if (error != 0) {
    return error;
  }
  if (unanswered_++ == 0) unanswered_since_ = std::chrono::steady_clock::now();
  return 0;
}

int RequestQueue::Flush() {
  const MutexLock lock(mutex_);
  while (!kept_.empty()) {
    const Kept& next = kept_.front();
    int fds[protocol::kMaxSpawnFds];
    for (size_t i = 0; i < next.fds.size(); ++i) fds[i] = next.fds[i].get();
    const int error = SendOnce(socket_, next.request, fds, next.fds.size());
    if (IsFull(error)) return error;
    // Any other fault means the end of the socket, which its reader sees as well.
    kept_.pop_front();
  }
  return 0;
}

void RequestQueue::Answered() {
  const MutexLock lock(mutex_);
  if (unanswered_ > 0) --unanswered_;
  unanswered_since_ = std::chrono::steady_clock::now();
}

std::optional<RequestQueue::Time> RequestQueue::unanswered_since() const {
  const MutexLock lock(mutex_);
  if (unanswered_ == 0) return std::nullopt;
  return unanswered_since_;
}

}  // namespace snakepit
