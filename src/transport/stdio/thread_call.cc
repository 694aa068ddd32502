#include "src/transport/stdio/thread_call.h"

#include <chrono>
#include <stop_token>
#include <utility>

#include "src/transport/outcome.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;
using ProgressKind = FrameChannel::Progress::Kind;

}  // namespace

void StdioThreadCall::Run(std::string* frame) {
  // Made and ended without the lock, which the callback takes.
  const std::stop_callback on_stop(request().stop, [this] { OnStop(); });
  try {
    Step step = Begin(frame);
    while (step != Step::kDone) {
      step = step == Step::kRead ? Read() : TakeInbox();
    }
  } catch (...) {  // there is no memory, say: nobody may find this call any more
    frame->clear();
    const MutexLock lock(link_.mutex_);
    link_.calls_.Remove(id());
    link_.role_.EndWait(*this);
    LeaveReading();
    throw;
  }
}

StdioThreadCall::Step StdioThreadCall::Begin(std::string* frame) {
  MutexLock lock(link_.mutex_);
  if (link_.calls_.closed()) {
    frame->clear();
    call().Fail(link_.calls_.closed()->error, link_.calls_.closed()->after);
    return Step::kDone;
  }
  link_.calls_.Add(*this, link_.channel_->appended());
  link_.channel_->Append(frame);
  link_.channel_->Flush();
  const bool needs_reader = link_.channel_->has_unsent() || link_.channel_->peer_takes_no_more();
  if (needs_reader && !link_.role_.MayTake(*this)) link_.WakeReader();
  return NextStep(lock);
}

StdioThreadCall::Step StdioThreadCall::NextStep(MutexLock& lock) {
  for (;;) {
    if (!inbox_.empty()) {
      taken_.swap(inbox_);
      LeaveReading();
      return Step::kTake;
    }
    if (stop_requested_) {
      call().Fail(GivenUp(request()), link_.Abandon(*this));
      LeaveReading();
      return Step::kDone;
    }
    if (link_.role_.MayTake(*this)) {
      link_.role_.TakeForThread(*this);
      return Step::kRead;
    }
    link_.role_.BeginWait(*this);
    const auto status = changed_.wait_until(lock, request().deadline);
    link_.role_.EndWait(*this);
    if (status == std::cv_status::timeout && inbox_.empty()) return EndLate();
  }
}

StdioThreadCall::Step StdioThreadCall::EndLate() {
  call().Fail(std::move(DeadlinePassed(request()).result.error()), link_.Abandon(*this));
  LeaveReading();
  return Step::kDone;
}

StdioThreadCall::Step StdioThreadCall::Read() {
  for (;;) {
    FrameChannel::Progress progress = link_.channel_->Receive();
    if (progress.kind == ProgressKind::kPayload) {
      Mail mail = link_.Open(progress.payload);
      MutexLock lock(link_.mutex_);
      if (link_.Deliver(mail, this)) {
        LeaveReading();
        lock.unlock();
        if (TakeOne(mail)) return Step::kDone;
        lock.lock();
        return NextStep(lock);
      }
      if (!inbox_.empty() || stop_requested_) return NextStep(lock);
      if (steady_clock::now() >= request().deadline) return EndLate();
    } else if (progress.kind == ProgressKind::kBlocked) {
      const ChannelWait::Outcome outcome =
          link_.channel_wait_.Wait(*link_.channel_, request().deadline);
      if (outcome == ChannelWait::Outcome::kReadable) continue;
      MutexLock lock(link_.mutex_);
      link_.channel_wait_.Clear();
      if (link_.channel_->has_unsent()) link_.channel_->Flush();
      if (!inbox_.empty() || stop_requested_) return NextStep(lock);
      if (outcome == ChannelWait::Outcome::kDeadline) return EndLate();
    } else {
      MutexLock lock(link_.mutex_);
      link_.FailAll(std::move(progress.error), progress.kind == ProgressKind::kClosed
                                                   ? AfterCall::kLost
                                                   : AfterCall::kUnusable);
      return NextStep(lock);
    }
  }
}

// Without the role and the lock: the chunk callback may take its time, and another thread reads
// meanwhile.
StdioThreadCall::Step StdioThreadCall::TakeInbox() {
  for (Mail& mail : taken_) {
    if (TakeOne(mail)) return Step::kDone;
  }
  taken_.clear();
  MutexLock lock(link_.mutex_);
  return NextStep(lock);
}

bool StdioThreadCall::TakeOne(Mail& mail) {
  const bool is_last = mail.is_last();
  if (mail.large.memory && !WhyOver()) {
    mail.reply = link_.Decode(mail.large, request());
    mail.large = {};
  }
  const StdioCall::Next next = Take(mail);
  if (next == StdioCall::Next::kAwaitMore) {
    if (const int64_t bytes = TakeDueCredit()) link_.GrantCredit(*this, bytes);
    return false;
  }
  // The table has let the call go with its last message.
  if (!is_last || next == StdioCall::Next::kAbandon) link_.End(*this, next);
  return true;
}

void StdioThreadCall::Hand(Mail mail) {
  link_.mutex_.AssertHeld();
  inbox_.push_back(std::move(mail));
  EndWait();
}

void StdioThreadCall::OnStop() {
  const MutexLock lock(link_.mutex_);
  stop_requested_ = true;
  EndWait();
  if (link_.role_.IsWith(*this)) link_.WakeReader();
}

void StdioThreadCall::EndWait() {
  link_.role_.EndWait(*this);
  changed_.notify_one();
}

}  // namespace snakepit
