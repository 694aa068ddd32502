// Frames to a process and back with nothing in between: what any pool over stdio costs at least.
#ifndef SNAKEPIT_BENCH_FRAME_PEER_H_
#define SNAKEPIT_BENCH_FRAME_PEER_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/child_process.h"
#include "snakepit/error.h"
#include "src/base/fd.h"

namespace snakepit {

// How to wait for bytes: at once by blocking, or by polling for a short while first, as the pool
// and the bundled worker do. With one usable processor both block.
enum class Waiting { kBlock, kPoll };

// Sends and receives whole frames, header included (PROTOCOL.md 2.1), one at a time.
class FrameSocket {
 public:
  // `fd` is a blocking stream socket, which the caller owns.
  FrameSocket(int fd, Waiting waiting);

  // False when the peer takes no more.
  bool Send(std::string_view frame);

  // The next frame, valid until the next call; empty when none came: the peer closed, sent more
  // than the one frame, or kept silent for the socket's SO_RCVTIMEO.
  std::string_view Receive();

 private:
  ptrdiff_t ReceiveSome(char* to, size_t size);

  const int fd_;
  const bool polls_;
  std::string buffer_;
};

// A process whose stdin and stdout are the other end of a socket pair.
class FramePeer {
 public:
  // Its RoundTrip fails when it is silent for half a minute.
  static Result<std::unique_ptr<FramePeer>> Start(
      const std::vector<std::string>& argv, const std::map<std::string, std::string>& environment,
      Waiting waiting);

  // This program as RunFrameEcho, which waits as this side does.
  static Result<std::unique_ptr<FramePeer>> StartEcho(Waiting waiting);

  // Sends the frame and returns its answer, header included, valid until the next call.
  Result<std::string_view> RoundTrip(std::string_view frame);

 private:
  FramePeer(UniqueFd fd, ChildProcess process, Waiting waiting)
      : fd_(std::move(fd)), process_(std::move(process)), socket_(fd_.get(), waiting) {}

  const UniqueFd fd_;
  const ChildProcess process_;
  FrameSocket socket_;
};

// The argument that makes this program an echo of frames, followed by "block" or "poll".
inline constexpr std::string_view kFrameEchoFlag = "--run_frame_echo=";

// Sends each frame that comes on stdin back, until the peer closes.
void RunFrameEcho(Waiting waiting);

}  // namespace snakepit

#endif  // SNAKEPIT_BENCH_FRAME_PEER_H_
