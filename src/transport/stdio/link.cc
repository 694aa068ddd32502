#include "src/transport/stdio/link.h"

#include <asio/post.hpp>
#include <exception>
#include <new>
#include <utility>

#include "src/transport/apart.h"
#include "src/transport/outcome.h"
#include "src/transport/stdio/io_call.h"
#include "src/transport/stdio/thread_call.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;
using ProgressKind = FrameChannel::Progress::Kind;

// A worker that sends without end must not keep the io thread from all else.
constexpr std::chrono::milliseconds kTurn{5};

}  // namespace

StdioLink::StdioLink(asio::io_context& io, std::shared_ptr<FrameChannel> channel,
                     Agreement agreement, size_t max_decoded_bytes,
                     std::chrono::milliseconds cancel_grace)
    : channel_(std::move(channel)),
      agreement_(std::move(agreement)),
      limits_{.max_bytes = max_decoded_bytes},
      cancel_grace_(cancel_grace),
      pump_(io, *channel_),
      calls_(counts_, [&io](StdioCallTable::Released released, AfterCall after) {
        asio::post(io, [released = std::move(released), after] { released(after); });
      }) {}

// --- Any reader ----------------------------------------------------------------------------------

Mail StdioLink::Open(std::string_view payload) {
  const auto whole = [&] {
    return DecodeReply(agreement_.codec, agreement_.version, payload, limits_);
  };
  const bool is_large = payload.size() > kLargeMessage;
  if (!is_large && counts_.unawaited == 0) {
    return {.reply = whole(), .payload_bytes = payload.size()};
  }
  Mail mail{.reply = DecodeReplyWithoutValue(agreement_.codec, agreement_.version, payload,
                                             limits_.max_bytes),
            .payload_bytes = payload.size()};
  if (!mail.reply || !mail.reply->has_value) return mail;
  // Without an id the value is of use, too: to say what was sent.
  if (const auto id = mail.reply->id) {
    const MutexLock lock(mutex_);
    if (!calls_.IsAwaited(static_cast<uint64_t>(*id))) return mail;
  }
  if (!is_large) {
    mail.reply = whole();
    return mail;
  }
  try {
    mail.large = channel_->Take(payload);
  } catch (const std::bad_alloc&) {
    mail.reply->kind = Reply::Kind::kError;
    mail.reply->has_value = false;
    mail.reply->error = MayHaveRun(OutOfMemory(payload.size()));
  }
  return mail;
}

Result<Reply> StdioLink::Decode(const TakenPayload& payload, const CallRequest& request) const {
  DecodeLimits limits = limits_;
  limits.deadline = request.deadline;
  limits.stop = request.stop;
  return DecodeReply(agreement_.codec, agreement_.version, payload.bytes, limits);
}

bool StdioLink::Deliver(Mail& mail, const StdioReceiver* me) {
  replies_.fetch_add(1, std::memory_order_relaxed);
  const bool has_timer = calls_.has_calls_of_no_thread();
  Result<bool> is_mine = calls_.Deliver(mail, me);
  if (!is_mine) {
    FailAll(std::move(is_mine.error()), AfterCall::kUnusable);
    return false;
  }
  StopTimer(has_timer);
  return *is_mine;
}

void StdioLink::FailAll(Error error, AfterCall after) {
  calls_.FailAll(std::move(error), after, channel_->sent());
  if (!role_.in_turn()) RequestTurn();
}

void StdioLink::End(StdioReceiver& call, StdioCall::Next next) {
  const MutexLock lock(mutex_);
  if (next == StdioCall::Next::kAbandon) {
    call.call().Abandoned(Abandon(call));
  } else {
    const bool has_timer = calls_.has_calls_of_no_thread();
    calls_.Remove(call.id());
    StopTimer(has_timer);
  }
}

AfterCall StdioLink::Abandon(StdioReceiver& call) {
  const uint64_t id = call.id();
  if (!calls_.Abandon(id, call.request().released, steady_clock::now() + cancel_grace_)) {
    // Its last message has come, or the end of the connection.
    const bool out_of_step = calls_.closed() && calls_.closed()->after == AfterCall::kUnusable;
    return out_of_step ? AfterCall::kUnusable : AfterCall::kUsable;
  }
  if (agreement_.version >= 2) {
    std::string frame;
    AppendCancelFrame(agreement_.codec, id, &frame);
    SendLocked(&frame);
  }
  RequestTurn();
  return AfterCall::kAbandoned;
}

void StdioLink::GrantCredit(StdioReceiver& call, int64_t bytes) {
  std::string frame;
  AppendCreditFrame(agreement_.codec, call.id(), bytes, &frame);
  const MutexLock lock(mutex_);
  if (!calls_.IsAwaited(call.id())) return;
  call.AddCredit(bytes);
  SendLocked(&frame);
}

void StdioLink::PassReadingOn() {
  if (ReaderRole::Thread* next = role_.PassOn()) {
    static_cast<StdioThreadCall*>(next)->Wake();
  } else if (IoHasWork()) {
    RequestTurn();
  }
}

void StdioLink::Send(std::string* frame) {
  const MutexLock lock(mutex_);
  if (!calls_.closed()) SendLocked(frame);
}

void StdioLink::SendLocked(std::string* frame) {
  channel_->Append(frame);
  channel_->Flush();
  if (channel_->has_unsent() || channel_->peer_takes_no_more()) WakeReader();
}

void StdioLink::WakeReader() {
  if (role_.IsWithThread()) {
    channel_wait_.Wake();
  } else {
    RequestTurn();
  }
}

// The timer keeps the io_context from ending.
void StdioLink::StopTimer(bool has_timer) {
  if (has_timer && !calls_.has_calls_of_no_thread() && !role_.in_turn()) RequestTurn();
}

// --- The io thread ------------------------------------------------------------------------------

void StdioLink::Begin(std::shared_ptr<StdioIoCall> call, std::string* frame) {
  const MutexLock lock(mutex_);
  if (calls_.closed()) return call->GiveUp(calls_.closed()->error, calls_.closed()->after);
  const uint64_t begin = channel_->appended();
  const uint64_t id = call->id();
  const SteadyTime deadline = call->request().deadline;
  SendLocked(frame);  // before the call is known: where it throws, there is none
  try {
    calls_.Add(std::move(call), begin, deadline);
    // A thread that reads will read for this call too; its deadline is kept here in any case.
    RequestTurn();
  } catch (...) {
    calls_.Remove(id);  // its user is told by the exception, and by nothing else
    throw;
  }
}

void StdioLink::Stop(uint64_t id) {
  const MutexLock lock(mutex_);
  const std::shared_ptr<StdioReceiver> call = calls_.Find(id);
  if (!call) return;
  GiveUp(*call, call->is_stream() ? StreamGivenUp() : GivenUp(call->request()));
}

void StdioLink::GiveUp(StdioReceiver& receiver, Error error) {
  auto& call = static_cast<StdioIoCall&>(receiver);
  AfterCall after = AfterCall::kUsable;
  if (call.kind() == StdioIoCall::Kind::kCall) {
    after = Abandon(call);
  } else {
    calls_.Forget(call.id());
  }
  call.GiveUp(std::move(error), after);
}

void StdioLink::Expire(SteadyTime now) {
  while (const std::shared_ptr<StdioReceiver> call = calls_.Expire(now)) {
    GiveUp(*call, std::move(DeadlinePassed(call->request()).result.error()));
  }
}

bool StdioLink::IoHasWork() const {
  return !calls_.closed() && (calls_.has_calls_of_no_thread() || channel_->has_unsent());
}

void StdioLink::OnTurn() {
  try {
    TakeTurn();
  } catch (const std::exception& error) {  // there is no memory, say, for what has come
    const MutexLock lock(mutex_);
    role_.SetInTurn(false);
    FailAll({.code = ErrorCode::kInternal,
             .message = std::string("the pool could not read on: ") + error.what()},
            AfterCall::kUnusable);
    if (role_.IsWithIo()) PassReadingOn();
  }
}

void StdioLink::TakeTurn() {
  bool reads = false;
  {
    const MutexLock lock(mutex_);
    pump_.BeginTurn();
    if (IoHasWork()) role_.TakeForIo();
    reads = role_.IsWithIo();
    role_.SetInTurn(reads);
    if (reads && channel_->has_unsent()) channel_->Flush();
  }
  std::optional<StdioCallTable::Closed> end;
  if (reads) end = ReadOnIo();
  const MutexLock lock(mutex_);
  if (end) FailAll(std::move(end->error), end->after);
  role_.SetInTurn(false);
  if (reads && (role_.HasWaiting() || !IoHasWork())) PassReadingOn();
  // After what is there has been read: this thread may have been held up until now.
  Expire(steady_clock::now());
  if (role_.IsWithIo() && !IoHasWork()) PassReadingOn();
  if (role_.IsWithIo()) {
    pump_.WaitForChannel(Self());
  } else {
    pump_.Release();
  }
  pump_.SetTimer(calls_.next_deadline(), Self());
}

std::optional<StdioCallTable::Closed> StdioLink::ReadOnIo() {
  const SteadyTime end = steady_clock::now() + kTurn;
  for (;;) {
    FrameChannel::Progress progress = channel_->Receive();
    switch (progress.kind) {
      case ProgressKind::kPayload: {
        Mail mail = Open(progress.payload);
        const MutexLock lock(mutex_);
        Deliver(mail, nullptr);
        if (!IoHasWork()) return std::nullopt;
        break;
      }
      case ProgressKind::kBlocked:
        return std::nullopt;
      case ProgressKind::kClosed:
        return StdioCallTable::Closed{std::move(progress.error), AfterCall::kLost};
      case ProgressKind::kBroken:
        return StdioCallTable::Closed{std::move(progress.error), AfterCall::kUnusable};
    }
    if (steady_clock::now() >= end) {
      RequestTurn();
      return std::nullopt;
    }
  }
}

}  // namespace snakepit
