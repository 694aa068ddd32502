#include "conformance/harness/raw_stdio.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <span>
#include <utility>

#include "src/base/fd.h"
#include "src/transport/launch_spec.h"
#include "src/wire/codec.h"
#include "src/wire/frame.h"
#include "src/wire/pool_side/handshake.h"
#include "src/wire/pool_side/message.h"

namespace snakepit::conformance {
namespace {

using std::chrono::steady_clock;

constexpr int kPingId = 1;
constexpr int kInfoId = 2;

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// A worker in a process group of its own, which the destructor ends.
class RawWorker {
 public:
  RawWorker(const Adapter& adapter, steady_clock::time_point deadline)
      : stdio_(std::get<StdioTransport>(adapter.transport)),
        deadline_(deadline),
        reader_(stdio_.max_frame_bytes) {}
  ~RawWorker() {
    if (pid_ <= 0) return;
    kill(-pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  RawWorker(const RawWorker&) = delete;
  RawWorker& operator=(const RawWorker&) = delete;

  Result<void> Start(const Adapter& adapter) {
    auto pair = OpenSocketPair();
    if (!pair) return Fail(std::move(pair.error()));
    auto instance = NewInstance();
    if (!instance) return Fail(std::move(instance.error()));
    std::vector<std::string> arguments =
        FillIn(adapter.argv, {{"{worker_id}", "worker_0"}, {"{instance}", *instance}});
    std::vector<std::string> variables =
        WorkerEnvironment(adapter, {{"SNAKEPIT_WORKER_ID", "worker_0"}});
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair->second.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, pair->second.get(), STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    pid_t pid = 0;
    const int error = posix_spawnp(&pid, arguments.front().c_str(), &actions, &attributes,
                                   Pointers(arguments).data(), Pointers(variables).data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return Fail(ErrnoError("posix_spawn " + arguments.front(), error));
    pid_ = pid;
    socket_ = std::move(pair->first);
    return {};
  }

  Result<Agreement> Negotiate() {
    const Offer offer{.codecs = stdio_.codecs, .max_frame_bytes = stdio_.max_frame_bytes};
    std::string frame;
    EncodeOfferFrame(offer, &frame);
    if (auto sent = Send(frame); !sent) return Fail(std::move(sent.error()));
    const Result<std::string_view> payload = Receive();
    if (!payload) return Fail(payload.error());
    return DecodeOfferReply(*payload, offer);
  }

  // Sends a message of version 2, and returns the result in the reply of its id.
  Result<Value> Ask(const Agreement& agreement, int id, const Value& message) {
    std::string frame;
    const size_t start = BeginFrame(&frame);
    if (auto done = Encode(agreement.codec, agreement.version, message, &frame); !done) {
      return Fail(std::move(done.error()));
    }
    if (auto done = EndFrame(&frame, start, agreement.max_frame_bytes); !done) {
      return Fail(std::move(done.error()));
    }
    if (auto sent = Send(frame); !sent) return Fail(std::move(sent.error()));
    while (true) {
      const Result<std::string_view> payload = Receive();
      if (!payload) return Fail(payload.error());
      Result<Reply> reply = DecodeReply(agreement.codec, agreement.version, *payload);
      if (!reply) return Fail(std::move(reply.error()));
      if (reply->id != id) continue;
      if (reply->kind == Reply::Kind::kError) return Fail(std::move(reply->error));
      return std::move(reply->value);
    }
  }

 private:
  Result<void> Send(const std::string& frame) {
    // Fits into the socket's buffer.
    const ssize_t sent = send(socket_.get(), frame.data(), frame.size(), MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(frame.size())) return {};
    return Fail(ErrorCode::kWorkerLost, "the worker closed its stdin");
  }

  // Valid until the next call of this.
  Result<std::string_view> Receive() {
    while (true) {
      auto payload = reader_.Next();
      if (!payload) return Fail(std::move(payload.error()));
      if (*payload) return **payload;
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline_ - steady_clock::now());
      pollfd fd{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (left.count() <= 0 || poll(&fd, 1, static_cast<int>(left.count())) == 0) {
        return Fail(ErrorCode::kDeadlineExceeded, "the worker did not answer");
      }
      const std::span<char> room = reader_.Writable();
      const ssize_t got = recv(socket_.get(), room.data(), room.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return Fail(ErrorCode::kWorkerLost, "the worker closed its stdout");
      reader_.Commit(static_cast<size_t>(got));
    }
  }

  const StdioTransport stdio_;
  const steady_clock::time_point deadline_;
  FrameReader reader_;
  UniqueFd socket_;
  pid_t pid_ = 0;
};

}  // namespace

std::vector<std::string> TextsOf(const Value* value) {
  std::vector<std::string> texts;
  const Value::Array* array = value == nullptr ? nullptr : value->get_if<Value::Array>();
  if (array == nullptr) return texts;
  for (const Value& item : *array) {
    if (const auto* text = item.get_if<std::string>()) texts.push_back(*text);
  }
  return texts;
}

Result<std::vector<std::string>> QuerySupportedCommands(const Adapter& adapter,
                                                        std::chrono::milliseconds limit) {
  if (!std::get<StdioTransport>(adapter.transport).negotiate) return std::vector<std::string>();
  RawWorker worker(adapter, steady_clock::now() + limit);
  if (auto started = worker.Start(adapter); !started) return Fail(std::move(started.error()));
  const Result<Agreement> agreement = worker.Negotiate();
  if (!agreement) return Fail(agreement.error());
  if (agreement->version < 2) return std::vector<std::string>();
  const Value ping = Value::Map{
      {"id", kPingId}, {"command", "ping"}, {"args", Value::Map{{"initialization", true}}}};
  if (auto pinged = worker.Ask(*agreement, kPingId, ping); !pinged) {
    return Fail(std::move(pinged.error()));
  }
  const auto info = worker.Ask(*agreement, kInfoId, Value::Map{{"type", "info"}, {"id", kInfoId}});
  if (!info) return Fail(info.error());
  return TextsOf(info->Find("supported_commands"));
}

}  // namespace snakepit::conformance
