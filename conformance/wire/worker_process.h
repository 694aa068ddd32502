// The process of a judged worker, with its descriptors 0 to 2 at the judge's.
#ifndef SNAKEPIT_CONFORMANCE_WIRE_WORKER_PROCESS_H_
#define SNAKEPIT_CONFORMANCE_WIRE_WORKER_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conformance/wire/transcript.h"
#include "snakepit/error.h"
#include "src/base/fd.h"

namespace snakepit::conformance {

// One thread uses it, and all its I/O is on that thread: bytes move while one of the methods that
// take a deadline waits.
class WorkerProcess {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  // PROTOCOL.md 1.3.2 allows both.
  enum class Channel { kSocketPair, kPipes };

  explicit WorkerProcess(Transcript& transcript) : transcript_(transcript) {}
  // Sends SIGKILL to the process group, and reaps the worker.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  // Once. `environment`: NAME=value. START_FAILED, or INTERNAL.
  Result<void> Start(std::vector<std::string> argv, std::vector<std::string> environment,
                     Channel channel);

  // Puts bytes behind those that are not sent yet.
  void Write(std::string_view bytes);
  // Waits until all are sent. False at the deadline, or if the worker does not take any more.
  bool AwaitWritten(Deadline deadline);

  // Waits until the worker has read all that was sent, or until its process sleeps. Both look again
  // and again, since the system has no event for that. False at the deadline.
  bool AwaitRead(Deadline deadline);
  bool AwaitIdle(Deadline deadline);

  // Moves bytes for a millisecond at most.
  void Pause();

  // The bytes that have come and are not taken yet.
  std::string_view input() const { return std::string_view(input_).substr(taken_); }
  void Take(size_t bytes) { taken_ += bytes; }
  // Waits for further bytes. False at the deadline, or at the end of the worker's output.
  bool AwaitInput(Deadline deadline);
  bool output_ended() const { return output_ended_; }

  // Closes the judge's side of descriptor 0. What is not sent yet is lost.
  void CloseInput();
  // To the process alone, as the worker's children are no matter of the protocol.
  void Signal(int signal);

  // The worker's end, as waitpid(2) gives it; nothing at the deadline.
  std::optional<int> AwaitExit(Deadline deadline);

  pid_t pid() const { return pid_; }
  // The most memory that the process has had, in bytes: VmHWM of proc(5). 0 once it has ended.
  int64_t PeakBytes() const;
  // The last bytes of stderr.
  const std::string& stderr_tail() const { return stderr_tail_; }

 private:
  template <typename Condition>
  bool Poll(Deadline deadline, Condition condition);
  // Moves bytes once. False at the deadline.
  bool Step(Deadline deadline, bool wait_for_exit);
  void Send();
  void Receive();
  void ReceiveStderr();

  Transcript& transcript_;
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd in_;      // to the worker; with a socket pair, from it, too
  UniqueFd out_;     // from the worker; with pipes only
  UniqueFd stderr_;  // from the worker
  bool is_socket_ = true;
  bool refuses_input_ = false;
  bool output_ended_ = false;
  std::optional<int> status_;
  std::string unsent_;
  size_t sent_ = 0;  // of unsent_
  std::string input_;
  size_t taken_ = 0;  // of input_
  std::string stderr_tail_;
};

// The end of a process, as waitpid(2) gives it: "by signal 9" or "with exit code 1".
std::string DescribeEnd(int status);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_WIRE_WORKER_PROCESS_H_
