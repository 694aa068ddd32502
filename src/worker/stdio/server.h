// Serves a worker over a pair of descriptors. PROTOCOL.md 2, 3 and 6.
#ifndef SNAKEPIT_WORKER_STDIO_SERVER_H_
#define SNAKEPIT_WORKER_STDIO_SERVER_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "src/base/adaptive_wait.h"
#include "src/base/fd.h"
#include "src/base/wakeup.h"
#include "src/wire/frame.h"
#include "src/wire/pool_side/handshake.h"
#include "src/wire/worker_side/message.h"
#include "src/worker/executor.h"
#include "src/worker/stdio/frame_writer.h"
#include "src/worker/stdio/reading_role.h"
#include "src/worker/worker_core.h"

namespace snakepit {

// One connection. In version 1 calls are run one after the other on the thread that reads. In
// version 2 a call is run there too when no other is in flight, which is the quickest; but others
// are read meanwhile (ReadingRole), and are run on threads of their own until none is in flight.
// The threads that read are few: when all of them wait for the pool to take an answer, nothing is
// read until it does.
class StdioServer {
 public:
  // SIGPIPE must not end the process. `on_fault` is called, on a thread that reads, when the
  // connection ends in a fault: Run may not return for long after that, as the thread that called
  // it may run a handler.
  StdioServer(WorkerCore& core, UniqueFd input, UniqueFd output, size_t max_frame_bytes,
              std::function<void()> on_fault = {});
  // Waits for handlers that run.
  ~StdioServer();

  // Serves until the connection ends, or Terminate, and calls have ended: the exit status.
  int Run();

  // After Run: whether no handler runs any more. After a fault they have only a limited time.
  bool idle() const;

  // Begins no more calls, and lets Run return when those in flight have ended. PROTOCOL.md 1.4.2.
  // From any thread and from a signal handler.
  void Terminate();

 private:
  struct PendingCall;
  using CallPtr = std::shared_ptr<PendingCall>;
  class Sink;

  // Reads, and stands by when another does, until the end or until others do both.
  void ReadInTurn();
  // Has a thread stand by that takes over the reading, if there are not enough that read already.
  void HaveStandby();

  // Of the thread that reads.
  void ReadLoop();
  std::optional<std::string_view> NextPayload();
  // Reads what there is; false at the end of the connection.
  bool Receive();
  // Takes the first payload; true when it was a negotiation, now answered.
  bool Negotiate(std::string_view payload);
  // `begun`: of a request, what Remember gave.
  void Handle(PoolMessage message, const CallPtr& begun, ReadingRole::Turn turn);
  void Begin(PoolMessage message, const CallPtr& call, ReadingRole::Turn turn);
  // Nothing is read any more.
  void End(int status);
  void EndInError(std::string_view reason);

  void Serve(PendingCall& call);
  // Run the handler, and leave in `*frame` what is still to be written, if anything.
  Result<void> RunForResult(PendingCall& call, std::string* frame);
  Result<void> RunForChunks(PendingCall& call, std::string* frame);
  void Cancel(PendingCall& call);
  // Hands the call on to a thread of the executor.
  void HandOn(const CallPtr& call);
  // Answers a call, and sees to it that its handler is not begun; does nothing when it was.
  void Refuse(PendingCall& call, ErrorCode code, std::string reason);
  void WriteFailure(std::optional<int64_t> id, const Error& error, int64_t chunk_index = -1);
  void WriteResult(int64_t id, const Value& result);
  // Answers what is no message.
  void WriteRefusal(const BadMessage& message);
  CallPtr Find(int64_t id);
  // A new call, in flight from here on; null when another has its id.
  CallPtr Remember(const PoolMessage& request, size_t payload_bytes);
  void EndCall(PendingCall& call, bool succeeded);
  void CallEnded();
  void Write(std::string_view frame);
  // No more credit will come: who waits for some waits in vain.
  void EndCredit();
  void Break();

  WorkerCore& core_;
  const UniqueFd input_;
  const size_t max_frame_bytes_;
  const std::function<void()> on_fault_;
  FrameWriter writer_;
  Wakeup wakeup_;
  std::atomic<bool> terminating_{false};
  std::atomic<bool> broken_{false};  // the pool reads no more
  std::atomic<int64_t> unanswered_{0};

  // Of the thread that reads.
  FrameReader reader_;
  AdaptiveWait wait_;
  bool open_ = false;  // whether the agreement is settled; then it never changes
  Agreement agreement_;
  const DecodeLimits decode_limits_;  // of a message of the pool
  size_t send_limit_;

  ReadingRole role_;
  std::mutex readers_mutex_;
  size_t readers_ = 1;                     // threads in ReadInTurn
  std::atomic<bool> has_standby_{false};   // set with the mutex, by whoever stands by; unset by it
  std::atomic<bool> lacks_thread_{false};  // the system gave none, the last time

  std::mutex calls_mutex_;
  std::unordered_map<int64_t, CallPtr> calls_;  // in flight
  std::atomic<size_t> waiting_bytes_{0};        // requests that wait for a thread

  std::mutex end_mutex_;
  std::condition_variable end_;
  std::optional<int> status_;  // when nothing is read any more

  Executor executor_;  // destroyed first: its threads use the rest
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_STDIO_SERVER_H_
