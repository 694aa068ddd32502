#include "src/transport/grpc/session_ends.h"

#include <algorithm>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <utility>

#include "src/transport/grpc/messages.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kLimit{5};
// Before an end is told again.
constexpr std::chrono::milliseconds kWait{10};

}  // namespace

void SessionEnds::Tell(const std::string& session_id) {
  {
    const MutexLock lock(mutex_);
    pending_.insert(session_id);
    ++count_;
  }
  asio::post(link_->io(), [self = shared_from_this(), session_id] {
    self->Send(session_id, steady_clock::now() + kLimit);
  });
}

bool SessionEnds::IsPending(std::string_view session_id) const {
  if (count_ == 0 || session_id.empty()) return false;
  const MutexLock lock(mutex_);
  return pending_.contains(session_id);
}

void SessionEnds::Await(std::string_view session_id, SteadyTime deadline,
                        const std::stop_token& stop) const {
  if (count_ == 0) return;
  MutexLock lock(mutex_);
  told_.wait_until(lock, stop, deadline,
                   [this, session_id]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                     return !pending_.contains(session_id);
                   });
}

void SessionEnds::Send(const std::string& session_id, SteadyTime until) {
  const auto wire = link_->Wire();
  if (!wire) return SendLater(session_id, until);
  auto rpc = link_->NewRpc<SessionRequest, ExecuteResponse>(*wire, until);
  rpc->request.set_session_id(session_id);
  rpc->request.set_request_id(std::to_string(link_->NextId()));
  rpc->request.set_end_session(true);
  link_->Start((*wire)->service().execute_in_session, link_->asks(), rpc,
               [self = shared_from_this(), rpc, session_id, until](const grpc::Status& status) {
                 if (status.ok() || self->link_->aborted()) return self->SetTold(session_id);
                 if (IsRefusedAsBusy(status)) return self->SendLater(session_id, until);
                 self->link_->FindEnd(rpc->wire, status, [self, session_id, until](RpcEnd end) {
                   if (end == RpcEnd::kAnswered) return self->SetTold(session_id);
                   self->SendLater(session_id, until);
                 });
               });
}

void SessionEnds::SendLater(const std::string& session_id, SteadyTime until) {
  auto timer = std::make_shared<asio::steady_timer>(link_->io(),
                                                    std::min(steady_clock::now() + kWait, until));
  timer->async_wait([self = shared_from_this(), timer, session_id, until](asio::error_code) {
    if (self->link_->aborted() || steady_clock::now() >= until) return self->SetTold(session_id);
    self->Send(session_id, until);
  });
}

void SessionEnds::SetTold(const std::string& session_id) {
  {
    const MutexLock lock(mutex_);
    pending_.erase(pending_.find(session_id));
    --count_;
  }
  told_.notify_all();
}

}  // namespace snakepit
