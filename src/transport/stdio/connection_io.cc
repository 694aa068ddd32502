// StdioConnection: what the io_context's thread does.
#include <algorithm>
#include <exception>
#include <iterator>

#include "src/base/quote.h"
#include "src/transport/stdio/connection.h"
#include "src/value/json.h"

namespace snakepit {

using std::chrono::steady_clock;

namespace {

// A worker that sends without end must not keep the thread from all else.
constexpr std::chrono::milliseconds kTurn{5};

Result<WorkerHealth> HealthOf(const Value& value) {
  const Result<bool> healthy = value.Get<bool>("healthy");
  if (!healthy) {
    return Fail(ErrorCode::kProtocolError,
                "the worker's health does not say `healthy`: " + BriefJson(value));
  }
  const auto number = [&value](std::string_view key) { return value.IntegerAt(key); };
  return WorkerHealth{.healthy = *healthy,
                      .worker_id = Excerpt(value.TextAt("worker_id"), kMostNameBytes),
                      .uptime = std::chrono::milliseconds(number("uptime_ms")),
                      .total_requests = number("total_requests"),
                      .total_errors = number("total_errors"),
                      .calls_in_flight = static_cast<int>(number("calls_in_flight")),
                      .version = Excerpt(value.TextAt("version"), kMostNameBytes)};
}

}  // namespace

// --- The io_context's thread ---------------------------------------------------------------------

void StdioConnection::Negotiate(Offer offer, SteadyTime deadline,
                                std::function<void(Result<void>)> done) {
  std::string frame;
  EncodeOfferFrame(offer, &frame);
  {
    std::lock_guard lock(mutex_);
    negotiation_.emplace(Negotiation{std::move(offer), std::move(done)});
    deadlines_.emplace(deadline, kNegotiation);
    SendLocked(&frame);
  }
  // At once: a worker that has ended already may have said why, and the next event is its exit.
  IoTurn();
}

void StdioConnection::CallAsync(const CallRequest& request,
                                std::function<void(CallOutcome<Value>)> done) {
  if (request.stop.stop_requested()) return done({Fail(NotBegun()), AfterCall::kUnsent});
  auto async = std::make_unique<AsyncCall>(agreement_, request, std::move(done));
  const uint64_t id = ++last_id_;
  std::string frame;
  if (auto encoded = Encode(id, request, false, &frame); !encoded) {
    return async->done({Fail(std::move(encoded.error())), AfterCall::kUnsent});
  }
  if (request.stop.stop_possible()) async->on_stop.emplace(request.stop, StopOnIo(id));
  BeginCall(id, std::move(async), &frame);
}

void StdioConnection::BeginCall(uint64_t id, std::unique_ptr<AsyncCall> async, std::string* frame) {
  const SteadyTime deadline = async->request.deadline;
  InFlight call{.async = std::move(async), .deadline = deadline};
  if (auto end = BeginAsync(id, std::move(call), frame)) {
    PostCallback(std::move(call.async->done), std::move(*end));
  }
}

void StdioConnection::StreamAsync(const CallRequest& request, ChunkCallback on_chunk,
                                  std::function<void(CallOutcome<int64_t>)> done) {
  if (!agreement_.stream) {
    return CallAsync(
        request, [on_chunk = std::move(on_chunk), done = std::move(done)](
                     CallOutcome<Value> outcome) { done(AsStream(std::move(outcome), on_chunk)); });
  }
  if (request.stop.stop_requested()) return done({Fail(NotBegun()), AfterCall::kUnsent});
  auto stream =
      std::make_shared<AsyncStream>(agreement_, request, std::move(on_chunk), std::move(done));
  const uint64_t id = ++last_id_;
  stream->receiver.id = id;
  std::string frame;
  if (auto encoded = Encode(id, request, true, &frame); !encoded) {
    return stream->done({Fail(std::move(encoded.error())), AfterCall::kUnsent});
  }
  if (request.stop.stop_possible()) stream->on_stop.emplace(request.stop, StopOnIo(id));
  if (auto end = BeginAsync(id, {.stream = stream, .deadline = request.deadline}, &frame)) {
    PostCallback(std::move(stream->done),
                 CallOutcome<int64_t>{Fail(std::move(end->result.error())), end->after});
  }
}

void StdioConnection::CheckHealth(SteadyTime deadline,
                                  std::function<void(Result<WorkerHealth>)> done) {
  if (agreement_.version < 2) {
    return done(Fail(ErrorCode::kUnimplemented,
                     "a worker of protocol version 1 on stdio has no health but `ping`"));
  }
  const auto answered = [weak = weak_from_this(), before = replies_.load(),
                         done = std::move(done)](CallOutcome<Value> outcome) {
    if (outcome.result) return done(HealthOf(*outcome.result));
    Error& error = outcome.result.error();
    const auto self = weak.lock();
    if (error.code == ErrorCode::kDeadlineExceeded && self && self->replies_ != before) {
      return done(Fail(ErrorCode::kUnavailable, kBusyWithCalls));
    }
    done(Fail(std::move(error)));
  };
  auto async = std::make_unique<AsyncCall>(
      agreement_, CallRequest{.command = "health", .deadline = deadline}, answered);
  async->is_call = false;
  const uint64_t id = ++last_id_;
  std::string frame;
  AppendHealthFrame(agreement_.codec, id, &frame);
  BeginCall(id, std::move(async), &frame);
}

void StdioConnection::EndSession(const std::string& session_id, std::function<void()> told) {
  if (agreement_.session) {
    std::string frame;
    AppendEndSessionFrame(agreement_.codec, session_id, &frame);
    std::lock_guard lock(mutex_);
    if (!closed_) SendLocked(&frame);
  }
  told();
}

void StdioConnection::RequestIoTurnLocked() {
  if (std::exchange(turn_posted_, true)) return;
  asio::post(io_, [self = shared_from_this()] { self->IoTurn(); });
}

void StdioConnection::ReleaseDescriptors() {
  if (readable_.is_open()) readable_.release();
  if (writable_.is_open()) writable_.release();
  waits_to_read_ = waits_to_write_ = false;
}

std::optional<CallOutcome<Value>> StdioConnection::BeginAsync(uint64_t id, InFlight&& call,
                                                              std::string* frame) {
  std::lock_guard lock(mutex_);
  if (closed_) return closed_;
  call.begin = channel_->appended();
  SendLocked(frame);  // before the call is known: where it throws, there is none
  deadlines_.emplace(call.deadline, id);
  in_flight_.emplace(id, std::move(call));
  ++for_io_;
  // A thread that reads will read for this call too; its deadline is kept here in any case.
  RequestIoTurnLocked();
  return std::nullopt;
}

std::function<void()> StdioConnection::StopOnIo(uint64_t id) {
  return [weak = weak_from_this(), io = &io_, id] {
    asio::post(*io, [weak, id] {
      if (auto self = weak.lock()) self->StopAsync(id);
    });
  };
}

void StdioConnection::StopAsync(uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto found = in_flight_.find(id);
  if (found == in_flight_.end()) return;
  const InFlight& call = found->second;
  if (call.async) return GiveUpAsyncLocked(id, GivenUp(call.async->request));
  if (call.stream) GiveUpAsyncLocked(id, StreamGivenUp());
}

void StdioConnection::GiveUpAsyncLocked(uint64_t id, Error error) {
  const auto found = in_flight_.find(id);
  if (const std::shared_ptr<AsyncStream> stream = found->second.stream) {
    const AfterCall after = AbandonLocked(id, stream->request.released);
    stream->has_ended = true;
    stream->on_stop.reset();
    return PostCallback(std::move(stream->done),
                        CallOutcome<int64_t>{Fail(std::move(error)), after});
  }
  const std::unique_ptr<AsyncCall> async = std::move(found->second.async);
  AfterCall after = AfterCall::kUsable;
  if (async->is_call) {
    after = AbandonLocked(id, async->request.released);
  } else {
    ++unawaited_;
    ++overdue_;
    EraseLocked(found);
  }
  PostCallback(std::move(async->done), CallOutcome<Value>{Fail(std::move(error)), after});
}

// --- A stream of StreamAsync ---------------------------------------------------------------------

void StdioConnection::PostStreamTurnLocked(const std::shared_ptr<AsyncStream>& stream) {
  if (std::exchange(stream->turn_posted, true)) return;
  asio::post(io_, [self = shared_from_this(), stream] { self->StreamTurn(stream); });
}

// Takes what has come since the last turn, and no more: a stream may always have more.
void StdioConnection::StreamTurn(const std::shared_ptr<AsyncStream>& stream) {
  {
    std::lock_guard lock(mutex_);
    stream->turn_posted = false;
    std::vector<Mail>& inbox = stream->receiver.inbox;
    std::move(inbox.begin(), inbox.end(), std::back_inserter(stream->taken));
    inbox.clear();
  }
  if (!stream->is_decoding) TakeStreamMail(stream);
}

void StdioConnection::TakeStreamMail(const std::shared_ptr<AsyncStream>& stream) {
  Receiver& receiver = stream->receiver;
  try {
    while (!stream->has_ended && !stream->taken.empty()) {
      if (stream->taken.front().large.memory && !WhyOver(receiver.call)) {
        return DecodeForStream(stream);
      }
      Mail mail = std::move(stream->taken.front());
      stream->taken.pop_front();
      const StdioCall::Next next = TakeMessage(receiver, mail);
      if (next != StdioCall::Next::kAwaitMore) EndStream(*stream, next);
    }
  } catch (const std::exception& error) {  // there is no memory, say
    receiver.call.Fail(
        MayHaveRun({.code = ErrorCode::kInternal,
                    .message = std::string("the pool could not read on: ") + error.what()}),
        AfterCall::kUnusable);
    EndStream(*stream, StdioCall::Next::kEnd);
  }
  if (stream->has_ended) stream->taken.clear();
}

// The first of what was taken; the rest follows.
void StdioConnection::DecodeForStream(const std::shared_ptr<AsyncStream>& stream) {
  stream->is_decoding = true;
  const auto mail = std::make_shared<Mail>(std::move(stream->taken.front()));
  RunApart(
      io_,
      [self = shared_from_this(), stream, mail] {
        mail->reply = self->Decode(mail->large, stream->request);
        mail->large = {};
      },
      [self = shared_from_this(), stream, mail] {
        stream->is_decoding = false;
        if (!stream->has_ended) stream->taken.front() = std::move(*mail);
        self->TakeStreamMail(stream);
      });
}

void StdioConnection::EndStream(AsyncStream& stream, StdioCall::Next next) {
  {
    std::lock_guard lock(mutex_);
    EndLocked(stream.receiver, next);
  }
  stream.has_ended = true;
  stream.on_stop.reset();
  stream.done(stream.receiver.call.TakeStreamOutcome());
}

// Its last message has come, but for the value. From any thread.
void StdioConnection::DecodeForAsync(std::unique_ptr<AsyncCall> async, TakenPayload payload) {
  struct Job {
    std::unique_ptr<AsyncCall> async;
    TakenPayload payload;
    Result<Reply> reply;
  };
  auto job = std::make_shared<Job>(Job{std::move(async), std::move(payload), Reply()});
  asio::post(io_, [self = shared_from_this(), job] {
    const auto decode = [self, job] {
      job->reply = self->Decode(job->payload, job->async->request);
      job->payload = {};
    };
    RunApart(self->io_, decode, [job] {
      AsyncCall& call = *job->async;
      if (job->reply) {
        call.call.OnReply(*std::move(job->reply));
      } else {
        call.call.OnUndecodable(std::move(job->reply.error()));
      }
      call.done(call.call.TakeOutcome());
    });
  });
}

// Ends what has not come in its time.
void StdioConnection::ExpireLocked(SteadyTime now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const uint64_t id = deadlines_.begin()->second;
    if (id == kNegotiation) {
      FailAllLocked({.code = ErrorCode::kStartTimeout,
                     .message = "the worker did not answer the handshake (one that knows none is "
                                "to be used with a fixed codec)"},
                    AfterCall::kUnusable);
      return;
    }
    const auto call = in_flight_.find(id);
    if (call->second.async || call->second.stream) {
      const CallRequest& request =
          call->second.async ? call->second.async->request : call->second.stream->request;
      GiveUpAsyncLocked(id, std::move(DeadlinePassed(request).result.error()));
    } else {
      // It was given up, and the worker has not ended it within the grace.
      PostCallback(std::move(call->second.released), AfterCall::kOverran);
      ++overdue_;
      EraseLocked(call);
    }
  }
}

void StdioConnection::IoTurn() {
  Lock lock(mutex_);
  try {
    TakeIoTurn(lock);
  } catch (const std::exception& error) {  // there is no memory, say, for what has come
    if (!lock.owns_lock()) lock.lock();
    io_in_turn_ = false;
    if (reader_ == Reader::kIo) reader_ = Reader::kNobody;
    FailAllLocked({.code = ErrorCode::kInternal,
                   .message = std::string("the pool could not read on: ") + error.what()},
                  AfterCall::kUnusable);
  }
}

void StdioConnection::TakeIoTurn(Lock& lock) {
  turn_posted_ = false;
  if (reader_ == Reader::kNobody && IoHasWorkLocked()) reader_ = Reader::kIo;
  if (reader_ == Reader::kIo) ReadOnIo(lock);
  // After what is there has been read: this thread may have been held up until now.
  ExpireLocked(steady_clock::now());
  if (reader_ == Reader::kIo && !IoHasWorkLocked()) PassReadingOnLocked();
  if (reader_ == Reader::kIo) {
    WaitOnIo();
  } else {
    ReleaseDescriptors();
  }
  ArmTimerLocked();
  const auto report = std::exchange(report_negotiation_, nullptr);
  lock.unlock();
  if (report) report();
}

// Reads what is there, but not for long, and leaves the role to a thread that waits.
void StdioConnection::ReadOnIo(Lock& lock) {
  using Kind = FrameChannel::Progress::Kind;
  io_in_turn_ = true;
  if (channel_->has_unsent()) channel_->Flush();
  const SteadyTime end = steady_clock::now() + kTurn;
  for (bool more = true; more;) {
    lock.unlock();
    FrameChannel::Progress progress = channel_->Receive();
    if (progress.kind == Kind::kPayload && negotiation_) {
      OnOfferReply(progress.payload, lock);
    } else if (progress.kind == Kind::kPayload) {
      Mail mail = Open(progress.payload);
      lock.lock();
      Deliver(std::move(mail));
    } else {
      lock.lock();
      more = false;
      if (progress.kind == Kind::kClosed) FailAllLocked(progress.error, AfterCall::kLost);
      if (progress.kind == Kind::kBroken) FailAllLocked(progress.error, AfterCall::kUnusable);
    }
    if (closed_ || !IoHasWorkLocked()) more = false;
    if (more && steady_clock::now() >= end) {
      more = false;
      RequestIoTurnLocked();
    }
  }
  io_in_turn_ = false;
  if (WaitingThreadLocked() != nullptr || !IoHasWorkLocked()) PassReadingOnLocked();
}

void StdioConnection::OnOfferReply(std::string_view payload, Lock& lock) {
  Result<Agreement> agreement = DecodeOfferReply(payload, negotiation_->offer);
  lock.lock();
  Result<void> result;
  if (agreement) {
    agreement_ = std::move(*agreement);
  } else {
    result = Fail(std::move(agreement.error()));
  }
  EndNegotiationLocked(std::move(result));
  std::erase_if(deadlines_, [](const auto& deadline) { return deadline.second == kNegotiation; });
}

void StdioConnection::WaitOnIo() {
  if (!readable_.is_open()) readable_.assign(channel_->read_fd());
  if (!std::exchange(waits_to_read_, true)) {
    readable_.async_wait(asio::posix::descriptor_base::wait_read,
                         [self = shared_from_this()](const asio::error_code& error) {
                           if (error) return;  // released
                           self->waits_to_read_ = false;
                           self->IoTurn();
                         });
  }
  if (!channel_->has_unsent()) return;
  if (!writable_.is_open()) writable_.assign(channel_->write_fd());
  if (!std::exchange(waits_to_write_, true)) {
    writable_.async_wait(asio::posix::descriptor_base::wait_write,
                         [self = shared_from_this()](const asio::error_code& error) {
                           if (error) return;
                           self->waits_to_write_ = false;
                           self->IoTurn();
                         });
  }
}

void StdioConnection::ArmTimerLocked() {
  if (deadlines_.empty()) {
    if (std::exchange(armed_, std::nullopt)) timer_.cancel();
    return;
  }
  const SteadyTime next = deadlines_.begin()->first;
  if (armed_ == next) return;
  armed_ = next;
  timer_.expires_at(next);
  timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (error) return;
    self->armed_.reset();
    self->IoTurn();
  });
}

}  // namespace snakepit
