#include "bench/frame_peer.h"

#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "src/wire/frame.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// The pool's own value (src/base/adaptive_wait.h).
constexpr std::chrono::microseconds kSpin{50};

constexpr size_t kFirstBufferBytes = 128 * 1024;

bool HasSeveralProcessors() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
}

size_t FrameBytes(const char* header) {
  size_t payload_bytes = 0;
  for (size_t i = 0; i < kFrameHeaderBytes; ++i) {
    payload_bytes = payload_bytes << 8 | static_cast<unsigned char>(header[i]);
  }
  return kFrameHeaderBytes + payload_bytes;
}

}  // namespace

FrameSocket::FrameSocket(int fd, Waiting waiting)
    : fd_(fd),
      polls_(waiting == Waiting::kPoll && HasSeveralProcessors()),
      buffer_(kFirstBufferBytes, '\0') {}

bool FrameSocket::Send(std::string_view frame) {
  while (!frame.empty()) {
    const ssize_t n = send(fd_, frame.data(), frame.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) frame.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

ptrdiff_t FrameSocket::ReceiveSome(char* to, size_t size) {
  if (polls_) {
    const auto end = steady_clock::now() + kSpin;
    do {
      const ssize_t n = recv(fd_, to, size, MSG_DONTWAIT);
      if (n >= 0 || errno != EAGAIN) return n;
    } while (steady_clock::now() < end);
  }
  for (;;) {
    const ssize_t n = recv(fd_, to, size, 0);
    if (n >= 0 || errno != EINTR) return n;
  }
}

std::string_view FrameSocket::Receive() {
  size_t received = 0;
  size_t needed = kFrameHeaderBytes;
  while (received < needed) {
    const ptrdiff_t n = ReceiveSome(buffer_.data() + received, buffer_.size() - received);
    if (n <= 0) return {};
    received += static_cast<size_t>(n);
    if (received < kFrameHeaderBytes) continue;
    needed = FrameBytes(buffer_.data());
    if (needed > buffer_.size()) buffer_.resize(needed);
  }
  // Each side sends only when the other has finished.
  if (received != needed) return {};
  return std::string_view(buffer_).substr(0, needed);
}

Result<std::unique_ptr<FramePeer>> FramePeer::Start(
    const std::vector<std::string>& argv, const std::map<std::string, std::string>& environment,
    Waiting waiting) {
  Result<FdPair> sockets = OpenSocketPair();
  if (!sockets) return Fail(std::move(sockets.error()));
  const timeval silence{.tv_sec = 30, .tv_usec = 0};
  setsockopt(sockets->first.get(), SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
  const int peer_fd = sockets->second.get();
  Result<ChildProcess> process = ChildProcess::Start(argv, environment, peer_fd, peer_fd);
  if (!process) return Fail(std::move(process.error()));
  return std::unique_ptr<FramePeer>(
      new FramePeer(std::move(sockets->first), std::move(*process), waiting));
}

Result<std::unique_ptr<FramePeer>> FramePeer::StartEcho(Waiting waiting) {
  const char* mode = waiting == Waiting::kPoll ? "poll" : "block";
  return Start({OwnPath(), std::string(kFrameEchoFlag) + mode}, {}, waiting);
}

Result<std::string_view> FramePeer::RoundTrip(std::string_view frame) {
  const bool sent = socket_.Send(frame);
  const std::string_view answer = sent ? socket_.Receive() : std::string_view();
  if (answer.empty()) return Fail(ErrorCode::kWorkerLost, "the peer did not answer with a frame");
  return answer;
}

void RunFrameEcho(Waiting waiting) {
  FrameSocket socket(STDIN_FILENO, waiting);
  for (;;) {
    const std::string_view frame = socket.Receive();
    if (frame.empty() || !socket.Send(frame)) return;
  }
}

}  // namespace snakepit
