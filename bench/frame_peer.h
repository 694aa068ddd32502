// Frames to a process and back with nothing in between: the floor of any pool over stdio.
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

// The wait for bytes: blocking at once, or after polling for a short while, like the pool and the
// bundled worker. With one usable processor both block at once.
enum class Waiting { kBlock, kPoll };

// Sends and receives whole frames, header included (PROTOCOL.md 2.1), one at a time.
class FrameSocket {
 public:
  // `fd` is a blocking stream socket, which the caller owns.
  FrameSocket(int fd, Waiting waiting);

  // False if the peer takes no more.
  bool Send(std::string_view frame);

  // The next frame, valid until the next call. Empty if the peer closed, sent more than one frame,
  // or was silent for the socket's SO_RCVTIMEO.
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
  // RoundTrip fails after half a minute of silence.
  static Result<std::unique_ptr<FramePeer>> Start(
      const std::vector<std::string>& argv, const std::map<std::string, std::string>& environment,
      Waiting waiting);

  // Starts this program as RunFrameEcho, with the same wait as this side.
  static Result<std::unique_ptr<FramePeer>> StartEcho(Waiting waiting);

  // Sends the frame and returns the answer, header included. Valid until the next call.
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

// Sends each frame on stdin back, until the peer closes.
void RunFrameEcho(Waiting waiting);

}  // namespace snakepit

#endif  // SNAKEPIT_BENCH_FRAME_PEER_H_
