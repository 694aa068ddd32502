// StdioPoolEnd: the judge in the part of a pool, at its end of the wire to one worker over stdio.
#ifndef SNAKEPIT_CONFORMANCE_WIRE_STDIO_POOL_END_H_
#define SNAKEPIT_CONFORMANCE_WIRE_STDIO_POOL_END_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conformance/harness/case.h"
#include "conformance/wire/codec.h"
#include "conformance/wire/transcript.h"
#include "conformance/wire/worker_process.h"
#include "snakepit/adapter.h"

namespace snakepit::conformance {

// Ends the case from any depth of its procedure.
struct CaseEnd {
  Verdict verdict;
};

[[noreturn]] void Fail(std::string expected, std::string observed);
[[noreturn]] void NotApplicable(std::string why);

// The first four bytes of a frame, and the frame of a payload.
std::string FrameHeader(uint32_t size);
std::string FrameOf(std::string_view payload);

// A method that waits fails the case when nothing comes within the time limit of an event that must
// come, and when the worker breaks the framing or an encoding. Used by one thread.
class StdioPoolEnd {
 public:
  struct Options {
    Adapter adapter;  // over stdio; with its placeholders
    double slowdown = 1;
    // Longest wait for an event that must come, on the calibration machine.
    std::chrono::milliseconds patience{6'000};
  };

  StdioPoolEnd(Options options, Transcript& transcript);

  // --- The process.

  using Channel = WorkerProcess::Channel;

  // Starts the worker and sends nothing. `variables`: further ones, NAME=value.
  void Start(Channel channel = Channel::kSocketPair,
             const std::vector<std::string>& variables = {});
  // Starts it, agrees on what the pool of this project offers, and has the answer to the first ping
  // (PROTOCOL.md 2.5): the worker is ready.
  void Open(Channel channel = Channel::kSocketPair);
  // The same with that offer.
  void OpenWith(const Json& offer);
  // Ends the worker by SIGKILL, if there is one. Another may be started, and nothing is agreed.
  void Restart();
  void CloseInput() { process_->CloseInput(); }
  void Signal(int signal) { process_->Signal(signal); }
  // The worker ends, with that exit code. What it wrote before is there to be received.
  void ExpectExit(int code);
  int64_t PeakBytes() const { return process_->PeakBytes(); }

  // --- Bytes.

  // Sends them as they are, and waits until the worker has taken them. TrySendBytes is false if it
  // takes no more.
  bool TrySendBytes(std::string_view bytes);
  void SendBytes(std::string_view bytes);
  void SendPayload(std::string_view payload) { SendBytes(FrameOf(payload)); }
  // Waits until the worker has read all that was sent.
  void AwaitRead();
  // Waits for a condition that no event tells.
  template <typename Condition>
  void Await(const char* what, Condition condition) {
    const Deadline deadline = Patience();
    while (!condition()) {
      if (std::chrono::steady_clock::now() >= deadline) Fail(what, "it does not");
      process_->Pause();
    }
  }
  // Waits until the worker's process sleeps: it has done what it had to do.
  void AwaitIdle();
  // The payload of the next frame; nothing at the end of the worker's output.
  std::optional<std::string> NextPayload();

  // --- The handshake.

  // The offer of a pool of this project: every codec that the judged worker is to be offered.
  Json Offer() const;
  // Sends the offer and returns the answer. The messages after it are in the codec and the version
  // that the answer names, if it does.
  Json Negotiate(const Json& offer);
  // True if the worker is judged with a handshake.
  bool negotiates() const { return stdio().negotiate; }
  // Without a handshake: the codec of the messages, and version 1.
  void SetFormat(Format format) {
    format_ = format;
    version_ = 1;
  }
  Format format() const { return format_; }
  int version() const { return version_; }
  int capacity() const { return capacity_; }
  // The largest payload that the worker reads.
  int64_t max_frame_bytes() const { return max_frame_bytes_; }
  bool HasFeature(std::string_view feature) const;

  // --- Messages. In version 2 over JSON, args are written with tags, and results and chunks read.

  // The frame of a message.
  std::string Frame(const Json& message) const;
  void Send(const Json& message) { SendBytes(Frame(message)); }
  // The next message; fails the case at the end of the worker's output.
  Json Receive();
  // The next message, or nothing at the end of the output.
  std::optional<Json> TryReceive();
  // The next message with the id; those with others stay, in their order.
  Json ReceiveFor(int64_t id);
  // The size of the payload of the last message received.
  size_t last_size() const { return last_size_; }

  int64_t NewId() { return ++last_id_; }
  int64_t last_id() const { return last_id_; }
  // A request: {"id", "command", "args"} and the members of `extra`.
  static Json Request(int64_t id, std::string_view command, const Json& args = Json::object(),
                      const Json& extra = Json::object());
  // Sends a request, and returns its reply.
  Json Call(std::string_view command, const Json& args = Json::object(),
            const Json& extra = Json::object());
  // The same, and returns the result: any other end fails the case.
  Json ResultOf(std::string_view command, const Json& args = Json::object(),
                const Json& extra = Json::object());
  // The result of `health` or `info`. Messages that come before it stay, in their order.
  Json Query(std::string_view type);
  // The commands that the worker lists, in version 2. PROTOCOL.md 6.10.4.
  std::vector<std::string> SupportedCommands();
  // Proves that the worker sends nothing more of its own accord: the answer to a query, or in
  // version 1 to a ping, is the next message.
  void ExpectNothingElse();

  // --- The needs of a case: not-applicable, or a failure where the worker claims what it lacks.

  void NeedVersion2() const;
  void NeedFeature(std::string_view feature) const;
  // Commands that the worker lists.
  void NeedCommands(std::initializer_list<std::string_view> names);
  void NeedHandshake() const;
  void NeedMsgpack() const;
  // True if the worker takes that codec where it is offered alone. Starts another worker.
  bool Takes(Format format);

  // The equivalent on this machine of a time on the calibration machine.
  std::chrono::milliseconds Scaled(std::chrono::milliseconds time) const;
  void Note(std::string_view text) { transcript_.Add(Transcript::Kind::kNote, text); }

 private:
  using Deadline = WorkerProcess::Deadline;

  const StdioTransport& stdio() const {
    return std::get<StdioTransport>(options_.adapter.transport);
  }
  Deadline Patience() const;
  // The first codec of the offer.
  Format FirstFormat() const;
  // Sends the first ping, and waits until the worker is ready.
  void AwaitReady();
  Json Decoded(const std::string& payload);
  // "; its stderr ends: …", or nothing.
  std::string StderrTail() const;
  [[noreturn]] void FailAtEnd(std::string expected);

  const Options options_;
  Transcript& transcript_;
  std::optional<WorkerProcess> process_;
  Format format_ = Format::kJson;
  int version_ = 1;
  int capacity_ = 1;
  int64_t max_frame_bytes_ = 64 << 20;
  std::vector<std::string> features_;
  int64_t last_id_ = 0;
  size_t last_size_ = 0;
  std::deque<Json> kept_;  // received, and for later
};

// --- Expectations of messages: each fails the case.

// A success with that id (PROTOCOL.md 2.4.2): returns its result.
Json ExpectSuccess(const Json& reply, int64_t id);
// A failure with that id, or null (2.4.3, 6.4.1) and, in version 2, the code.
void ExpectFailure(const Json& reply, const Json& id, std::string_view code, int version);
// The same, and it says that it has not run (6.4.3).
void ExpectRefusal(const Json& reply, const Json& id, std::string_view code, int version);
// A chunk (6.3.1 to 6.3.3) with that id and index, final or not: returns its value, or null where
// it has none.
Json ExpectChunk(const Json& message, int64_t id, int64_t index, bool final);

}  // namespace snakepit::conformance

#endif  // SNAKEPIT_CONFORMANCE_WIRE_STDIO_POOL_END_H_
