#include "src/transport/stdio/io_call.h"

#include <algorithm>
#include <asio/post.hpp>
#include <exception>
#include <iterator>
#include <string>
#include <utility>

#include "src/transport/apart.h"
#include "src/transport/outcome.h"

namespace snakepit {

void StdioIoCall::WatchStop() {
  if (!request_.stop.stop_possible()) return;
  on_stop_.emplace(request_.stop, [weak = link_.weak_from_this(), io = &link_.io(), id = id()] {
    asio::post(*io, [weak, id] {
      if (const auto link = weak.lock()) link->Stop(id);
    });
  });
}

void StdioIoCall::Hand(Mail mail) {
  link_.mutex().AssertHeld();
  // The link is kept, as this needs it.
  if (!is_stream()) {
    asio::post(link_.io(), [self = shared_from_this(), link = link_.shared_from_this(),
                            mail = std::move(mail)]() mutable {
      const bool is_last = mail.is_last();
      if (self->IsDecoded(mail)) self->TakeOne(std::move(mail), is_last);
    });
    return;
  }
  inbox_.push_back(std::move(mail));
  if (std::exchange(is_turn_posted_, true)) return;
  asio::post(link_.io(),
             [self = shared_from_this(), link = link_.shared_from_this()] { self->StreamTurn(); });
}

void StdioIoCall::StreamTurn() {
  {
    const MutexLock lock(link_.mutex());
    is_turn_posted_ = false;
    std::move(inbox_.begin(), inbox_.end(), std::back_inserter(taken_));
    inbox_.clear();
  }
  if (!is_decoding_) TakeAll();
}

void StdioIoCall::TakeAll() {
  while (!has_ended_ && !taken_.empty()) {
    if (!IsDecoded(taken_.front())) return;
    Mail mail = std::move(taken_.front());
    taken_.pop_front();
    const bool is_last = mail.is_last();
    TakeOne(std::move(mail), is_last);
  }
  if (has_ended_) taken_.clear();
}

bool StdioIoCall::IsDecoded(Mail& mail) {
  if (!mail.large.memory || has_ended_ || WhyOver()) return true;
  // A chunk that cannot be decoded ends the stream here, but is not the worker's last message.
  const bool is_last = mail.is_last();
  const auto apart = std::make_shared<Mail>(std::move(mail));
  RunApart(
      link_.io(),
      [self = shared_from_this(), link = link_.shared_from_this(), apart] {
        apart->reply = link->Decode(apart->large, self->request_);
        apart->large = {};
      },
      [self = shared_from_this(), link = link_.shared_from_this(), apart, is_last] {
        self->is_decoding_ = false;
        if (!self->taken_.empty()) self->taken_.pop_front();  // a stream's, moved to `apart`
        self->TakeOne(std::move(*apart), is_last);
        self->TakeAll();
      });
  is_decoding_ = true;
  return false;
}

void StdioIoCall::TakeOne(Mail mail, bool is_last) {
  if (has_ended_) return;
  StdioCall::Next next = StdioCall::Next::kEnd;
  try {
    next = Take(mail);
    const int64_t due = next == StdioCall::Next::kAwaitMore ? TakeDueCredit() : 0;
    if (due > 0) link_.GrantCredit(*this, due);
  } catch (const std::exception& error) {  // there is no memory, say
    call().Fail(MayHaveRun({.code = ErrorCode::kInternal,
                            .message = std::string("the pool could not read on: ") + error.what()}),
                AfterCall::kUnusable);
    next = StdioCall::Next::kEnd;
  }
  // Not in the try: an exception of `done_` is not the connection's.
  if (next != StdioCall::Next::kAwaitMore) End(next, is_last);
}

void StdioIoCall::End(StdioCall::Next next, bool is_last) {
  if (!is_last || next == StdioCall::Next::kAbandon) link_.End(*this, next);
  has_ended_ = true;
  on_stop_.reset();
  CallDone();
}

void StdioIoCall::Refuse(Error error) {
  call().Fail(std::move(error), AfterCall::kUnsent);
  has_ended_ = true;
  CallDone();
}

void StdioIoCall::GiveUp(Error error, AfterCall after) {
  if (has_ended_) return;
  call().Fail(std::move(error), after);
  has_ended_ = true;
  on_stop_.reset();
  asio::post(link_.io(), [self = shared_from_this()] { self->CallDone(); });
}

}  // namespace snakepit
