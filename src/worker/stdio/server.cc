#include "src/worker/stdio/server.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "src/wire/worker_side/handshake.h"

namespace snakepit {
namespace {

// A thread keeps the memory of a frame that it has written up to this size.
constexpr size_t kKeptFrameBytes = 256 * 1024;

// Threads that read in turn: one runs a handler, one waits until its answer is taken, one reads,
// and one stands by.
constexpr size_t kMaxReaders = 4;

// Longest time that calls in flight have to end after a fault.
constexpr std::chrono::seconds kDrainLimit{2};

// An empty frame for this thread to fill. It must be written before the next call of this.
std::string& EmptyFrame() {
  thread_local std::string frame;
  if (frame.capacity() > kKeptFrameBytes) frame = std::string();
  frame.clear();
  return frame;
}

BadMessage InFlight(int64_t id) {
  return {.error = CallError(ErrorCode::kInvalidArgument,
                             "id " + std::to_string(id) + " is that of a call in flight", false)};
}

}  // namespace

// The chunks of one call, as frames.
class StdioServer::Sink : public StreamSink {
 public:
  Sink(StdioServer& server, PendingCall& call) : server_(server), call_(call) {}

 private:
  Result<void> Deliver(Value chunk, bool final) override {
    std::string& frame = EmptyFrame();
    size_t bytes = 0;
    if (Result<void> encoded = EncodeChunkFrame(server_.agreement_.codec, call_.id, count(), final,
                                                &chunk, server_.send_limit_, &frame, &bytes);
        !encoded) {
      return encoded;
    }
    if (call_.credit && !call_.credit->TryTake(bytes)) {
      // Another thread has to read the credit.
      server_.role_.GiveUp(call_.turn);
      if (!call_.credit->Take(bytes, call_.stop.get_token(), call_.deadline)) {
        if (auto given_up = call_.GivenUp()) return snakepit::Fail(std::move(*given_up));
        return snakepit::Fail(
            CallError(ErrorCode::kCancelled, "the pool has ended the connection", true));
      }
    }
    if (auto given_up = call_.GivenUp()) return snakepit::Fail(std::move(*given_up));
    if (final) server_.EndCall(call_, true);
    switch (server_.writer_.Write(frame, final ? std::stop_token() : call_.stop.get_token())) {
      case FrameWriter::Outcome::kWritten:
        return {};
      case FrameWriter::Outcome::kUnwanted:
        break;
      case FrameWriter::Outcome::kBroken:
        server_.Break();
    }
    return snakepit::Fail(ErrorCode::kCancelled, "the caller gave the call up");
  }

  StdioServer& server_;
  PendingCall& call_;
};

StdioServer::StdioServer(CommandService& commands, UniqueFd input, UniqueFd output,
                         size_t max_frame_bytes, std::function<void()> on_fault)
    : commands_(commands),
      input_(std::move(input)),
      max_frame_bytes_(max_frame_bytes),
      on_fault_(std::move(on_fault)),
      writer_(std::move(output)),
      reader_(max_frame_bytes, 0),
      decode_limits_{.max_bytes = DecodedLimit(0, max_frame_bytes)},
      send_limit_(max_frame_bytes),
      executor_(commands.options.capacity) {}

StdioServer::~StdioServer() = default;

int StdioServer::Run() {
  if (!wakeup_.valid()) {
    EndInError("the system gives no descriptor");
  } else {
    ReadInTurn();
  }
  int status = 0;
  {
    MutexLock lock(end_mutex_);
    end_.wait(lock,
              [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(end_mutex_) { return status_.has_value(); });
    status = *status_;
  }
  if (status == 0) {
    executor_.WaitUntilIdle();
  } else {
    executor_.WaitUntilIdle(kDrainLimit);
  }
  return broken_ ? 1 : status;
}

bool StdioServer::idle() const { return executor_.in_flight() == 0; }

void StdioServer::Terminate() {
  terminating_ = true;
  wakeup_.Wake();
}

void StdioServer::ReadInTurn() {
  for (;;) {
    ReadLoop();
    {
      const MutexLock lock(readers_mutex_);
      if (has_standby_) {
        --readers_;
        return;
      }
      has_standby_ = true;
    }
    const bool reads = role_.AwaitRole();
    has_standby_ = false;
    if (!reads) return;
  }
}

void StdioServer::HaveStandby() {
  const MutexLock lock(readers_mutex_);
  if (has_standby_ || readers_ == kMaxReaders) return;
  has_standby_ = true;
  ++readers_;
  const bool started = executor_.Start([this] {
    const bool reads = role_.AwaitRole();
    has_standby_ = false;
    if (reads) ReadInTurn();
  });
  if (!started) {
    has_standby_ = false;
    --readers_;
  }
  // Says it once, and not for every message.
  if (lacks_thread_.exchange(!started) || started) return;
  std::fprintf(stderr,
               "%s: the system gives no thread to read while a handler runs: calls run one after "
               "the other, and cannot be cancelled; raise its limit of processes or memory\n",
               commands_.name.c_str());
}

void StdioServer::ReadLoop() {
  while (const auto payload = NextPayload()) {
    if (!open_ && Negotiate(*payload)) continue;
    auto message = DecodePoolMessage(agreement_, *payload, decode_limits_);
    open_ = open_ || message.has_value();
    // The call is remembered before another thread can read a `cancel` for it.
    const bool is_new = message && message->kind == PoolMessage::Kind::kRequest;
    const CallPtr call = is_new ? Remember(*message, payload->size()) : nullptr;
    if (agreement_.version >= 2 && !has_standby_.load(std::memory_order_relaxed)) HaveStandby();
    const ReadingRole::Turn turn = role_.BeginBusy();
    if (message) {
      Handle(std::move(*message), call, turn);
    } else {
      WriteRefusal(message.error());
    }
    if (!role_.EndBusy(turn)) return;
  }
}

std::optional<std::string_view> StdioServer::NextPayload() {
  for (;;) {
    if (broken_) {
      End(1);
      return std::nullopt;
    }
    if (terminating_ && unanswered_ == 0) {
      End(0);
      return std::nullopt;
    }
    auto next = reader_.Next();
    if (!next) {
      // The frames that follow are out of step. PROTOCOL.md 2.6.6.
      Error error = std::move(next.error());
      error.code = ErrorCode::kInvalidArgument;
      WriteFailure(std::nullopt, error);
      EndInError(error.message);
      return std::nullopt;
    }
    if (*next) return **next;
    pollfd entries[] = {{.fd = input_.get(), .events = POLLIN, .revents = 0},
                        {.fd = wakeup_.fd(), .events = POLLIN, .revents = 0}};
    wait_.Wait(entries);
    if (entries[0].revents != 0) {
      if (!Receive()) return std::nullopt;
    } else {
      wakeup_.Clear();
    }
  }
}

bool StdioServer::Receive() {
  const std::span<char> room = reader_.Writable();
  const ssize_t size = read(input_.get(), room.data(), room.size());
  if (size > 0) {
    reader_.Commit(static_cast<size_t>(size));
  } else if (size < 0 && errno != EINTR && errno != EAGAIN) {
    EndInError(ErrnoError("cannot read from the pool", errno).message);
    return false;
  } else if (size == 0) {
    if (reader_.empty()) {
      End(0);
    } else {
      EndInError("the input ended after " + reader_.DescribePartial());
    }
    return false;
  }
  return true;
}

bool StdioServer::Negotiate(std::string_view payload) {
  const Result<Opening> opening = DecodeOpening(payload);
  std::string& frame = EmptyFrame();
  if (!opening) {
    EncodeRefusalFrame(opening.error().message, &frame);
    Write(frame);
    std::fprintf(stderr, "%s: stdio: %s\n", commands_.name.c_str(),
                 opening.error().message.c_str());
    Break();
    return true;
  }
  agreement_.codec = opening->codec;
  if (!opening->offer) return false;
  agreement_ = AgreeTo(*opening->offer);
  agreement_.capacity = commands_.options.capacity;
  agreement_.max_frame_bytes = max_frame_bytes_;
  agreement_.worker_id = commands_.worker_id;
  send_limit_ = std::min(max_frame_bytes_, opening->offer->max_frame_bytes);
  open_ = true;
  EncodeAnswerFrame(agreement_, &frame);
  Write(frame);
  return true;
}

void StdioServer::Handle(PoolMessage message, const CallPtr& begun, ReadingRole::Turn turn) {
  switch (message.kind) {
    case PoolMessage::Kind::kRequest:
      return Begin(std::move(message), begun, turn);
    case PoolMessage::Kind::kCancel:
      if (const CallPtr call = calls_.Find(message.id)) Cancel(*call);
      return;
    case PoolMessage::Kind::kCredit:
      if (const CallPtr call = calls_.Find(message.id); call && call->credit) {
        call->credit->Grant(*message.credit);
      }
      return;
    case PoolMessage::Kind::kEndSession:
      return commands_.sessions.End(message.session_id);
    case PoolMessage::Kind::kHealth:
      if (calls_.Find(message.id)) return WriteRefusal(InFlight(message.id));
      return WriteResult(message.id, commands_.Health(unanswered_));
    case PoolMessage::Kind::kInfo:
      if (calls_.Find(message.id)) return WriteRefusal(InFlight(message.id));
      return WriteResult(message.id, commands_.Info(max_frame_bytes_));
    case PoolMessage::Kind::kUnknown:
      return;
  }
}

void StdioServer::Begin(PoolMessage message, const CallPtr& call, ReadingRole::Turn turn) {
  if (call == nullptr) return WriteRefusal(InFlight(message.id));
  call->command = std::move(message.command);
  call->args = std::move(message.args);
  call->worker_id = commands_.worker_id;
  call->request_id = std::to_string(message.id);
  call->LimitTime(message.timeout_ms);
  // Version 1 cannot say that a call has not run, so every call that was read begins. PROTOCOL.md
  // 1.4.10.
  if (terminating_ && agreement_.version >= 2) {
    return Refuse(*call, ErrorCode::kCancelled, "the worker is ending");
  }
  if (agreement_.session && !message.session_id.empty()) {
    call->session_id = std::move(message.session_id);
    call->session = commands_.sessions.Use(call->session_id);
  }
  if (!executor_.TryBeginHere()) return HandOn(call);
  if (call->credit && lacks_thread_ && !has_standby_) {
    // No thread could read its credit.
    Refuse(*call, ErrorCode::kInvalidArgument,
           DescribeRefusal(Executor::Outcome::kNoThread, commands_.options.capacity));
  } else if (!call->claimed.exchange(true)) {
    call->turn = turn;
    Serve(*call);
  }
  executor_.EndHere();
}

void StdioServer::HandOn(const CallPtr& call) {
  auto outcome = Executor::Outcome::kFull;
  // Further calls may wait as long as the waiting ones are together no larger than a frame may be.
  // PROTOCOL.md 6.8.3. A call within the capacity does not count as waiting, although its thread
  // may still be on its way. Each call before it may have its answer and not be over yet.
  const size_t bytes = call->payload_bytes;
  if (waiting_bytes_.fetch_add(bytes) < max_frame_bytes_ ||
      executor_.in_flight() < 2 * static_cast<size_t>(commands_.options.capacity)) {
    outcome = executor_.Submit([this, call] {
      waiting_bytes_ -= call->payload_bytes;
      if (!call->claimed.exchange(true)) Serve(*call);
    });
  }
  if (outcome == Executor::Outcome::kTaken) return;
  waiting_bytes_ -= bytes;
  Refuse(*call, ErrorCode::kInvalidArgument, DescribeRefusal(outcome, commands_.options.capacity));
}

void StdioServer::Serve(PendingCall& call) {
  // Its own frame, because a sink uses EmptyFrame meanwhile.
  thread_local std::string frame;
  frame.clear();
  Result<void> outcome = call.stream ? RunForChunks(call, &frame) : RunForResult(call, &frame);
  if (!call.ended) EndCall(call, outcome.has_value());
  if (!outcome) {
    EncodeFailureFrame(agreement_.codec, agreement_.version, call.id, outcome.error(), call.chunks,
                       send_limit_, &frame);
  }
  if (!frame.empty()) Write(frame);
  if (frame.capacity() > kKeptFrameBytes) frame = std::string();
  CallEnded();
}

Result<void> StdioServer::RunForResult(PendingCall& call, std::string* frame) {
  const Result<Value> result = commands_.registry.Run(call);
  if (!result) return snakepit::Fail(result.error());
  Result<void> encoded =
      EncodeResultFrame(agreement_.codec, agreement_.version, call.id, *result, send_limit_, frame);
  if (!encoded) encoded.error().may_have_run = true;
  return encoded;
}

Result<void> StdioServer::RunForChunks(PendingCall& call, std::string* frame) {
  Sink sink(*this, call);
  Result<void> outcome = commands_.registry.RunStream(call, sink);
  call.chunks = sink.count();
  if (!outcome || sink.ended()) return outcome;
  size_t bytes = 0;
  return EncodeChunkFrame(agreement_.codec, call.id, call.chunks, true, nullptr, send_limit_, frame,
                          &bytes);
}

void StdioServer::Cancel(PendingCall& call) {
  call.stop.request_stop();
  Refuse(call, ErrorCode::kCancelled, "the caller gave the call up");
}

void StdioServer::Refuse(PendingCall& call, ErrorCode code, std::string reason) {
  if (call.claimed.exchange(true)) return;
  EndCall(call, false);
  WriteFailure(call.id, CallError(code, std::move(reason), false), call.stream ? 0 : -1);
  CallEnded();
}

void StdioServer::CallEnded() {
  // The thread that reads may wait for the last call.
  if (--unanswered_ == 0 && terminating_) wakeup_.Wake();
}

StdioServer::CallPtr StdioServer::Remember(const PoolMessage& request, size_t payload_bytes) {
  auto call = std::make_shared<PendingCall>();
  call->id = request.id;
  call->payload_bytes = payload_bytes;
  call->stream = request.stream && agreement_.stream;
  if (request.credit) call->credit.emplace(*request.credit);
  if (!calls_.Add(call)) return nullptr;
  ++unanswered_;
  return call;
}

// Comes before the last message: after that the pool may ask for figures, and a message about this
// id must find nothing.
void StdioServer::EndCall(PendingCall& call, bool succeeded) {
  call.ended = true;
  commands_.Count(succeeded);
  calls_.Remove(call.id);
}

void StdioServer::WriteResult(int64_t id, const Value& result) {
  std::string& frame = EmptyFrame();
  if (Result<void> encoded =
          EncodeResultFrame(agreement_.codec, agreement_.version, id, result, send_limit_, &frame);
      !encoded) {
    return WriteFailure(id, encoded.error());
  }
  Write(frame);
}

void StdioServer::WriteFailure(std::optional<int64_t> id, const Error& error, int64_t chunk_index) {
  std::string& frame = EmptyFrame();
  EncodeFailureFrame(agreement_.codec, agreement_.version, id, error, chunk_index, send_limit_,
                     &frame);
  Write(frame);
}

void StdioServer::WriteRefusal(const BadMessage& message) {
  // An answer with the id would end the call that has it. PROTOCOL.md 6.8.4.
  const bool in_flight = message.id && calls_.Find(*message.id) != nullptr;
  WriteFailure(in_flight ? std::nullopt : message.id, message.error);
}

void StdioServer::Write(std::string_view frame) {
  if (writer_.Write(frame) == FrameWriter::Outcome::kBroken) Break();
}

void StdioServer::Break() {
  if (broken_.exchange(true)) return;
  calls_.StopAll();
  wakeup_.Wake();
}

void StdioServer::End(int status) {
  calls_.EndCredit();
  if (status != 0 && on_fault_) on_fault_();
  {
    const MutexLock lock(end_mutex_);
    status_ = status;
  }
  end_.notify_all();
  role_.End();
}

void StdioServer::EndInError(std::string_view reason) {
  std::fprintf(stderr, "%s: stdio: %.*s\n", commands_.name.c_str(), static_cast<int>(reason.size()),
               reason.data());
  End(1);
}

}  // namespace snakepit
