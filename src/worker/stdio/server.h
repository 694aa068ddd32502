// Serves a worker over a pair of descriptors. PROTOCOL.md 2, 3 and 6.
#ifndef SNAKEPIT_WORKER_STDIO_SERVER_H_
#define SNAKEPIT_WORKER_STDIO_SERVER_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/adaptive_wait.h"
#include "src/base/fd.h"
#include "src/base/mutex.h"
#include "src/base/wakeup.h"
#include "src/wire/agreement.h"
#include "src/wire/frame.h"
#include "src/wire/worker_side/message.h"
#include "src/worker/command_service.h"
#include "src/worker/executor.h"
#include "src/worker/stdio/calls_in_flight.h"
#include "src/worker/stdio/frame_writer.h"
#include "src/worker/stdio/reading_role.h"

namespace snakepit {

// One connection. In version 1 calls run one after the other on the thread that reads. In version 2
// a call runs there, too, if no other is in flight, because that is quickest. But other messages
// are read meanwhile (ReadingRole), and further calls run on threads of the executor until none is
// in flight. Few threads read: when all of them wait for the pool to take an answer, nothing is
// read until it does.
class StdioServer {
 public:
  // SIGPIPE must not end the process. A thread that reads calls `on_fault` when the connection ends
  // in a fault. Run may return long after that, because its thread may run a handler.
  StdioServer(CommandService& commands, UniqueFd input, UniqueFd output, size_t max_frame_bytes,
              std::function<void()> on_fault = {});
  // Waits for handlers that run.
  ~StdioServer();

  // Serves until the connection ends, or Terminate, and calls have ended. Returns the exit status.
  int Run();

  // After Run: true if no handler runs any more. After a fault they have only a limited time.
  bool idle() const;

  // Begins no more calls, and lets Run return when those in flight have ended. PROTOCOL.md 1.4.2.
  // From any thread and from a signal handler.
  void Terminate();

 private:
  using PendingCall = StdioPendingCall;
  using CallPtr = CallsInFlight::CallPtr;
  class Sink;

  // Reads, or stands by while another thread reads, until the end or until other threads do both.
  void ReadInTurn();
  // Has a thread stand by to take over the reading, unless enough threads read already.
  void HaveStandby();

  // The following methods run on the thread that reads.
  void ReadLoop();
  std::optional<std::string_view> NextPayload();
  // Reads once from the connection. False at its end.
  bool Receive();
  // Takes the first payload. True when it was a negotiation, which has now its answer.
  bool Negotiate(std::string_view payload);
  // `begun` is the call that Remember returned for a request.
  void Handle(PoolMessage message, const CallPtr& begun, ReadingRole::Turn turn);
  void Begin(PoolMessage message, const CallPtr& call, ReadingRole::Turn turn);
  // Ends the reading.
  void End(int status);
  void EndInError(std::string_view reason);

  void Serve(PendingCall& call);
  // Run the handler, and leave in `*frame` the last message, if it is still to be written.
  Result<void> RunForResult(PendingCall& call, std::string* frame);
  Result<void> RunForChunks(PendingCall& call, std::string* frame);
  void Cancel(PendingCall& call);
  // Hands the call on to a thread of the executor.
  void HandOn(const CallPtr& call);
  // Answers a call whose handler has not begun, and keeps it from beginning.
  void Refuse(PendingCall& call, ErrorCode code, std::string reason);
  void WriteFailure(std::optional<int64_t> id, const Error& error, int64_t chunk_index = -1);
  void WriteResult(int64_t id, const Value& result);
  // Answers a payload that is no message.
  void WriteRefusal(const BadMessage& message);
  // Returns a new call, in flight from here on; null when another has its id.
  CallPtr Remember(const PoolMessage& request, size_t payload_bytes);
  void EndCall(PendingCall& call, bool succeeded);
  void CallEnded();
  void Write(std::string_view frame);
  void Break();

  CommandService& commands_;
  const UniqueFd input_;
  const size_t max_frame_bytes_;
  const std::function<void()> on_fault_;
  FrameWriter writer_;
  Wakeup wakeup_;
  std::atomic<bool> terminating_{false};
  std::atomic<bool> broken_{false};  // the pool reads no more
  std::atomic<int64_t> unanswered_{0};

  // Only the thread that reads uses these.
  FrameReader reader_;
  AdaptiveWait wait_;
  bool open_ = false;  // the agreement is settled, and never changes again
  Agreement agreement_;
  const DecodeLimits decode_limits_;  // for a message from the pool
  size_t send_limit_;

  ReadingRole role_;
  Mutex readers_mutex_;
  // Threads in ReadInTurn.
  size_t readers_ ABSL_GUARDED_BY(readers_mutex_) = 1;
  // Set with the mutex; the thread that stands by unsets it without.
  std::atomic<bool> has_standby_{false};
  std::atomic<bool> lacks_thread_{false};  // the system gave no thread the last time

  CallsInFlight calls_;
  std::atomic<size_t> waiting_bytes_{0};  // requests that wait for a thread

  Mutex end_mutex_;
  CondVar end_;
  // The exit status, once nothing is read any more.
  std::optional<int> status_ ABSL_GUARDED_BY(end_mutex_);

  Executor executor_;  // destroyed first: its threads use the rest
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_STDIO_SERVER_H_
