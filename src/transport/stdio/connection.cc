// StdioConnection: the calls of threads, and what any reader does.
#include "src/transport/stdio/connection.h"

#include <new>
#include <stop_token>

#include "src/base/quote.h"
#include "src/value/json.h"

namespace snakepit {

using std::chrono::steady_clock;

// --- A thread's call -----------------------------------------------------------------------------

CallOutcome<Value> StdioConnection::Call(const CallRequest& request) {
  Waiter me(agreement_, request, nullptr);
  Run(me);
  return me.call.TakeOutcome();
}

CallOutcome<int64_t> StdioConnection::Stream(const CallRequest& request,
                                             const ChunkCallback& on_chunk) {
  if (!agreement_.stream) return AsStream(Call(request), on_chunk);
  Waiter me(agreement_, request, &on_chunk);
  Run(me);
  return me.call.TakeStreamOutcome();
}

Result<void> StdioConnection::Encode(uint64_t id, const CallRequest& request, bool stream,
                                     std::string* frame) {
  return EncodeRequestFrame(
      agreement_.codec,
      {
          .id = id,
          .command = request.command,
          .args = request.args,
          .version = agreement_.version,
          .stream = stream,
          .credit = stream ? kStreamCredit : 0,
          .session_id = agreement_.session ? request.session_id : std::string_view(),
          .timeout_ms = MillisecondsUntil(request.deadline),
      },
      {.max_bytes = agreement_.max_frame_bytes, .deadline = request.deadline, .stop = request.stop},
      frame);
}

void StdioConnection::OnStop(Waiter& me) {
  std::lock_guard lock(mutex_);
  me.stop_requested = true;
  me.changed.notify_one();
  if (reader_thread_ == &me) WakeReaderLocked();
}

void StdioConnection::Run(Waiter& me) {
  const CallRequest& request = me.call.request();
  if (request.stop.stop_requested()) {
    return me.call.Fail(NotBegun(), AfterCall::kUnsent);
  }
  me.id = ++last_id_;
  static thread_local std::string frame;
  if (auto encoded = Encode(me.id, request, me.call.is_stream(), &frame); !encoded) {
    return me.call.Fail(std::move(encoded.error()), AfterCall::kUnsent);
  }
  // Made and ended without the lock, which its callback takes.
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  if (request.stop.stop_possible()) on_stop.emplace(request.stop, [this, &me] { OnStop(me); });

  Lock lock(mutex_);
  if (closed_) {
    frame.clear();
    return me.call.Fail(closed_->result.error(), closed_->after);
  }
  try {
    in_flight_.emplace(me.id, InFlight{.begin = channel_->appended(), .waiter = &me});
    channel_->Append(&frame);
    channel_->Flush();
    const bool needs_reader = channel_->has_unsent() || channel_->peer_takes_no_more();
    if (needs_reader && !MayReadLocked(me)) WakeReaderLocked();
    Await(me, lock);
  } catch (...) {  // there is no memory, say: nobody may find this call any more
    if (!lock.owns_lock()) lock.lock();
    frame.clear();
    if (const auto left = in_flight_.find(me.id); left != in_flight_.end()) EraseLocked(left);
    LeaveReadingLocked(me);
    throw;
  }
  LeaveReadingLocked(me);
}

void StdioConnection::Await(Waiter& me, Lock& lock) {
  const CallRequest& request = me.call.request();
  for (;;) {
    if (!me.inbox.empty()) {
      if (TakeMail(me, lock)) break;
      continue;
    }
    if (me.stop_requested) {
      me.call.Fail(GivenUp(request), AbandonLocked(me.id, request.released));
      break;
    }
    bool in_time = true;
    if (MayReadLocked(me)) {
      reader_ = Reader::kThread;
      reader_thread_ = &me;
      in_time = ReadUntilMail(me, lock);
    } else {
      me.waits = true;
      in_time = me.changed.wait_until(lock, request.deadline) == std::cv_status::no_timeout;
      me.waits = false;
    }
    if (!in_time && me.inbox.empty()) {
      me.call.Fail(std::move(DeadlinePassed(request).result.error()),
                   AbandonLocked(me.id, request.released));
      break;
    }
  }
}

// Takes what is in the inbox; true when the call has ended. The lock is not held meanwhile: the
// chunk callback may take its time, and another thread reads.
bool StdioConnection::TakeMail(Waiter& me, Lock& lock) {
  std::vector<Mail> batch;
  batch.swap(me.inbox);
  LeaveReadingLocked(me);
  lock.unlock();
  StdioCall::Next next = StdioCall::Next::kAwaitMore;
  for (Mail& mail : batch) {
    if (mail.large.memory && !WhyOver(me.call)) {
      mail.reply = Decode(mail.large, me.call.request());
      mail.large = {};
    }
    next = TakeMessage(me, mail);
    if (next != StdioCall::Next::kAwaitMore) break;
  }
  lock.lock();
  if (next == StdioCall::Next::kAwaitMore) return false;
  EndLocked(me, next);
  return true;
}

std::optional<Error> StdioConnection::WhyOver(const StdioCall& call) const {
  if (!call.is_stream()) return std::nullopt;
  // A stream may always have more to take.
  const CallRequest& request = call.request();
  if (steady_clock::now() >= request.deadline) {
    return std::move(DeadlinePassed(request).result.error());
  }
  if (request.stop.stop_requested()) return StreamGivenUp();
  return std::nullopt;
}

StdioCall::Next StdioConnection::TakeMessage(Receiver& me, Mail& mail) {
  if (auto error = WhyOver(me.call)) {
    me.call.Fail(std::move(*error), AfterCall::kAbandoned);
    return StdioCall::Next::kAbandon;
  }
  if (!mail.reply) {
    if (mail.after == AfterCall::kUsable) {
      me.call.OnUndecodable(std::move(mail.reply.error()));
    } else {
      me.call.Fail(std::move(mail.reply.error()), mail.after);
    }
    return StdioCall::Next::kEnd;
  }
  const StdioCall::Next next = me.call.OnReply(std::move(*mail.reply));
  if (next != StdioCall::Next::kAwaitMore) return next;
  me.taken_bytes += static_cast<int64_t>(mail.payload_bytes);
  if (me.taken_bytes >= kStreamCredit / 4) GrantCredit(me);
  return next;
}

void StdioConnection::EndLocked(Receiver& me, StdioCall::Next next) {
  if (next == StdioCall::Next::kAbandon) {
    me.call.Abandoned(AbandonLocked(me.id, me.call.request().released));
  } else if (const auto left = in_flight_.find(me.id); left != in_flight_.end()) {
    EraseLocked(left);  // it ended by what is no last message
  }
}

void StdioConnection::GrantCredit(Receiver& me) {
  const int64_t bytes = std::exchange(me.taken_bytes, 0);
  std::string frame;
  AppendCreditFrame(agreement_.codec, me.id, bytes, &frame);
  std::lock_guard lock(mutex_);
  if (!in_flight_.contains(me.id)) return;
  me.credit += bytes;
  SendLocked(&frame);
}

// Reads until there is something for this thread: mail, or a stop. False when the deadline passed.
bool StdioConnection::ReadUntilMail(Waiter& me, Lock& lock) {
  using Kind = FrameChannel::Progress::Kind;
  const SteadyTime deadline = me.call.request().deadline;
  lock.unlock();
  for (;;) {
    FrameChannel::Progress progress = channel_->Receive();
    switch (progress.kind) {
      case Kind::kPayload: {
        Mail mail = Open(progress.payload);
        lock.lock();
        Deliver(std::move(mail));
        if (!me.inbox.empty() || me.stop_requested) return true;
        if (steady_clock::now() >= deadline) return false;
        lock.unlock();
        break;
      }
      case Kind::kBlocked: {
        const int write_fd = channel_->has_unsent() ? channel_->write_fd() : -1;
        pollfd entries[] = {{.fd = channel_->read_fd(), .events = POLLIN, .revents = 0},
                            {.fd = wakeup_.fd(), .events = POLLIN, .revents = 0},
                            {.fd = write_fd, .events = POLLOUT, .revents = 0}};
        const auto outcome = wait_.Wait(entries, deadline);
        if (outcome == AdaptiveWait::Outcome::kReady && write_fd < 0 && !woken_) break;
        lock.lock();
        if (woken_) ClearWake();
        if (channel_->has_unsent()) channel_->Flush();
        if (me.stop_requested) return true;
        if (outcome == AdaptiveWait::Outcome::kDeadline) return false;
        lock.unlock();
        break;
      }
      case Kind::kClosed:
        lock.lock();
        FailAllLocked(std::move(progress.error), AfterCall::kLost);
        return true;
      case Kind::kBroken:
        lock.lock();
        FailAllLocked(std::move(progress.error), AfterCall::kUnusable);
        return true;
    }
  }
}

// --- Any reader ----------------------------------------------------------------------------------

AfterCall StdioConnection::AbandonLocked(uint64_t id, std::function<void(AfterCall)> released) {
  const auto found = in_flight_.find(id);
  if (found == in_flight_.end()) {  // its last message has come, or the end of the connection
    const bool out_of_step = closed_ && closed_->after == AfterCall::kUnusable;
    return out_of_step ? AfterCall::kUnusable : AfterCall::kUsable;
  }
  InFlight& call = found->second;
  if (call.waiter != nullptr) {
    ++for_io_;
  } else {
    deadlines_.erase({call.deadline, id});
  }
  ++unawaited_;
  call.waiter = nullptr;
  call.async = nullptr;
  call.stream = nullptr;
  call.released = std::move(released);
  call.deadline = steady_clock::now() + cancel_grace_;
  deadlines_.emplace(call.deadline, id);
  if (agreement_.version >= 2) {
    std::string frame;
    AppendCancelFrame(agreement_.codec, id, &frame);
    SendLocked(&frame);
  }
  RequestIoTurnLocked();
  return AfterCall::kAbandoned;
}

void StdioConnection::PassReadingOnLocked() {
  reader_ = Reader::kNobody;
  reader_thread_ = nullptr;
  if (Waiter* waiter = WaitingThreadLocked()) {
    reader_ = Reader::kThread;
    reader_thread_ = waiter;
    waiter->changed.notify_one();
  } else if (IoHasWorkLocked()) {
    RequestIoTurnLocked();
  }
}

void StdioConnection::SendLocked(std::string* frame) {
  channel_->Append(frame);
  channel_->Flush();
  if (channel_->has_unsent() || channel_->peer_takes_no_more()) WakeReaderLocked();
}

void StdioConnection::WakeReaderLocked() {
  if (reader_ != Reader::kThread) return RequestIoTurnLocked();
  if (!woken_.exchange(true)) wakeup_.Wake();
}

void StdioConnection::ClearWake() {
  wakeup_.Clear();
  woken_ = false;
}

StdioConnection::Waiter* StdioConnection::WaitingThreadLocked() const {
  for (const auto& [id, call] : in_flight_) {
    if (call.waiter != nullptr && call.waiter->waits) return call.waiter;
  }
  return nullptr;
}

// What has come, as far as its reader decodes it.
StdioConnection::Mail StdioConnection::Open(std::string_view payload) {
  const auto whole = [&] {
    return DecodeReply(agreement_.codec, agreement_.version, payload, limits_);
  };
  const bool is_large = payload.size() > kLargeMessage;
  if (!is_large && unawaited_ == 0) return {.reply = whole(), .payload_bytes = payload.size()};
  Mail mail{.reply = DecodeReplyWithoutValue(agreement_.codec, agreement_.version, payload,
                                             limits_.max_bytes),
            .payload_bytes = payload.size()};
  if (!mail.reply || !mail.reply->has_value || !IsAwaited(*mail.reply)) return mail;
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

// Whether its value is of use: to a call, or, as it has no id, to say what was sent.
bool StdioConnection::IsAwaited(const Reply& reply) {
  if (!reply.id) return true;
  std::lock_guard lock(mutex_);
  const auto call = in_flight_.find(static_cast<uint64_t>(*reply.id));
  return call != in_flight_.end() && call->second.is_awaited();
}

// The whole of a large reply, for its call.
Result<Reply> StdioConnection::Decode(const TakenPayload& payload,
                                      const CallRequest& request) const {
  DecodeLimits limits = limits_;
  limits.deadline = request.deadline;
  limits.stop = request.stop;
  return DecodeReply(agreement_.codec, agreement_.version, payload.bytes, limits);
}

// Hands a reply to the call that it is for.
void StdioConnection::Deliver(Mail mail) {
  replies_.fetch_add(1, std::memory_order_relaxed);
  Result<Reply>& reply = mail.reply;
  const auto out_of_step = [this](std::string what) {
    FailAllLocked({.code = ErrorCode::kProtocolError, .message = "the worker " + std::move(what)},
                  AfterCall::kUnusable);
  };
  if (!reply) {
    // Of one call it is that one's reply; of several it could be any one's. PROTOCOL.md 6.8.5.
    if (in_flight_.size() == 1) {
      return DeliverTo(in_flight_.begin(), std::move(mail));
    }
    return FailAllLocked(std::move(reply.error()), AfterCall::kUnusable);
  }
  if (!reply->id) {
    return out_of_step("sent a reply without an id: " + (reply->kind == Reply::Kind::kError
                                                             ? reply->error.message
                                                             : BriefJson(reply->value)));
  }
  const auto id = static_cast<uint64_t>(*reply->id);
  const auto found = in_flight_.find(id);
  if (found != in_flight_.end()) {
    return DeliverTo(found, std::move(mail));
  }
  if (*reply->id > 0 && id <= last_id_) return IgnoreLocked(*reply);
  out_of_step("sent a reply to call " + std::to_string(*reply->id) + ", which was not made");
}

// A late reply: PROTOCOL.md 2.6.4.
void StdioConnection::IgnoreLocked(const Reply& reply) {
  if (overdue_ == 0) {
    if (!std::exchange(sends_unasked_, true)) ++unawaited_;
  } else if (reply.final) {
    --overdue_;
    --unawaited_;
  }
}

void StdioConnection::DeliverTo(Calls::iterator call, Mail mail) {
  const bool is_last = !mail.reply || mail.reply->final;
  InFlight& found = call->second;
  if (found.waiter != nullptr || found.stream) {
    Receiver& receiver = found.waiter != nullptr ? *found.waiter : found.stream->receiver;
    if (receiver.call.is_stream() && mail.reply && mail.reply->kind == Reply::Kind::kChunk &&
        mail.reply->has_value) {
      if (receiver.credit <= 0) {  // what it sends would pile up here
        return FailAllLocked({.code = ErrorCode::kProtocolError,
                              .message = "the worker sent a chunk for which it had no credit"},
                             AfterCall::kUnusable);
      }
      receiver.credit -= static_cast<int64_t>(mail.payload_bytes);
    }
    receiver.inbox.push_back(std::move(mail));
    NotifyLocked(found);
    if (is_last) EraseLocked(call);
  } else if (found.async) {
    AsyncCall& async = *found.async;
    if (mail.large.memory) {
      DecodeForAsync(std::move(found.async), std::move(mail.large));
      return EraseLocked(call);
    }
    if (!mail.reply) {
      async.call.OnUndecodable(std::move(mail.reply.error()));
    } else if (async.call.OnReply(std::move(*mail.reply)) == StdioCall::Next::kAwaitMore) {
      return;
    }
    PostCallback(std::move(async.done), async.call.TakeOutcome());
    EraseLocked(call);
  } else if (is_last) {
    --unawaited_;
    PostCallback(std::move(found.released), AfterCall::kUsable);
    EraseLocked(call);
  }
}

// There is something in the inbox of that call.
void StdioConnection::NotifyLocked(const InFlight& call) {
  if (call.stream) return PostStreamTurnLocked(call.stream);
  if (call.waiter->waits) call.waiter->changed.notify_one();
}

// The connection is over: nobody gets anything any more.
void StdioConnection::FailAllLocked(Error error, AfterCall after) {
  error.message = CutText(error.message, kMostSharedTextBytes);  // each call gets a copy
  const uint64_t sent = channel_->sent();
  Calls calls;
  calls.swap(in_flight_);
  for (auto& [id, call] : calls) {
    Error own = error;
    own.may_have_run = sent > call.begin;
    if (call.waiter != nullptr || call.stream) {
      Receiver& receiver = call.waiter != nullptr ? *call.waiter : call.stream->receiver;
      receiver.inbox.push_back({.reply = Fail(std::move(own)), .after = after});
      NotifyLocked(call);
    } else if (call.async) {
      PostCallback(std::move(call.async->done), CallOutcome<Value>{Fail(std::move(own)), after});
    } else {
      PostCallback(std::move(call.released), after);
    }
  }
  for_io_ = 0;
  deadlines_.clear();
  if (!io_in_turn_) RequestIoTurnLocked();
  if (negotiation_) EndNegotiationLocked(Fail(Error(error)));
  closed_ = CallOutcome<Value>{Fail(std::move(error)), after};
}

void StdioConnection::EraseLocked(Calls::iterator call) {
  if (call->second.waiter == nullptr) {
    --for_io_;
    deadlines_.erase({call->second.deadline, call->first});
    if (deadlines_.empty() && !io_in_turn_)
      RequestIoTurnLocked();  // its timer keeps it from ending
  }
  in_flight_.erase(call);
}

}  // namespace snakepit
