#include "src/transport/grpc/abandoned_calls.h"

#include <algorithm>
#include <asio/post.hpp>
#include <utility>

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// Between two questions: the wait doubles from the first to the last. A handler that lets itself be
// cancelled is mostly through with it when the first answer is given.
constexpr std::chrono::milliseconds kFirstWait{1};
constexpr std::chrono::milliseconds kLastWait{100};

}  // namespace

void AbandonedCalls::Add(std::string request_id, Released released) {
  if (!released) return;
  asio::post(link_->io(), [self = shared_from_this(),
                           call = Call{.request_id = std::move(request_id),
                                       .released = std::move(released),
                                       .end = steady_clock::now() + grace_}]() mutable {
    self->calls_.push_back(std::move(call));
    self->wait_ = kFirstWait;
    if (!self->asking_) self->Ask();
  });
}

void AbandonedCalls::Abort() {
  asio::post(link_->io(), [self = shared_from_this()] { self->ReleaseAll(AfterCall::kLost); });
}

void AbandonedCalls::Ask() {
  timer_.reset();
  asking_ = true;
  asked_ = calls_.size();
  // It is what the worker says at the end of the grace that counts.
  const SteadyTime deadline = std::max(calls_.front().end, steady_clock::now() + kLastWait);
  link_->AskHealth(deadline, [self = shared_from_this()](const GrpcLink::HealthAnswer& answer) {
    self->OnAnswer(answer);
  });
}

void AbandonedCalls::OnAnswer(const GrpcLink::HealthAnswer& answer) {
  if (link_->aborted()) return ReleaseAll(AfterCall::kLost);
  if (answer.end == RpcEnd::kLost && answer.status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    return ReleaseAll(AfterCall::kLost);
  }
  std::optional<std::unordered_set<std::string>> active;
  if (answer.status.ok() && answer.reply.Check()) {
    const auto& ids = answer.reply.message.active_request_ids();
    active.emplace(ids.begin(), ids.end());
  }
  Release(active);
}

void AbandonedCalls::Release(const std::optional<std::unordered_set<std::string>>& active) {
  asking_ = false;
  const SteadyTime now = steady_clock::now();
  std::vector<Call> kept;
  std::vector<std::pair<Released, AfterCall>> ended;
  for (size_t i = 0; i < calls_.size(); ++i) {
    Call& call = calls_[i];
    // The worker may have answered before it had a call that was added after the question.
    if (active && i < asked_ && !active->contains(call.request_id)) {
      ended.emplace_back(std::move(call.released), AfterCall::kUsable);
    } else if (now >= call.end) {
      ended.emplace_back(std::move(call.released), AfterCall::kOverran);
    } else {
      kept.push_back(std::move(call));
    }
  }
  calls_ = std::move(kept);
  asked_ = 0;
  if (!calls_.empty()) AskLater();
  for (const auto& [released, after] : ended) released(after);
}

void AbandonedCalls::AskLater() {
  timer_ = std::make_unique<asio::steady_timer>(
      link_->io(), std::min(steady_clock::now() + wait_, calls_.front().end));
  wait_ = std::min(2 * wait_, kLastWait);
  timer_->async_wait([self = shared_from_this(), timer = timer_.get()](asio::error_code error) {
    if (!error && self->timer_.get() == timer) self->Ask();
  });
}

void AbandonedCalls::ReleaseAll(AfterCall after) {
  asking_ = false;
  timer_.reset();
  asked_ = 0;
  for (const Call& call : std::exchange(calls_, {})) call.released(after);
}

}  // namespace snakepit
