#include "src/transport/stdio/call_table.h"

#include <string>

#include "src/base/quote.h"
#include "src/transport/outcome.h"
#include "src/value/json.h"

namespace snakepit {
namespace {

tl::unexpected<Error> OutOfStep(std::string what) {
  return Fail(ErrorCode::kProtocolError, "the worker " + std::move(what));
}

}  // namespace

void StdioCallTable::Add(StdioReceiver& receiver, uint64_t begin) {
  calls_.emplace(receiver.id(), Call{.begin = begin, .receiver = &receiver});
}

void StdioCallTable::Add(std::shared_ptr<StdioReceiver> receiver, uint64_t begin,
                         SteadyTime deadline) {
  const uint64_t id = receiver->id();
  StdioReceiver* const raw = receiver.get();
  calls_.emplace(
      id, Call{.begin = begin, .receiver = raw, .kept = std::move(receiver), .deadline = deadline});
  deadlines_.emplace(deadline, id);
}

Result<bool> StdioCallTable::Deliver(Mail& mail, const StdioReceiver* me) {
  if (!mail.reply) {
    // With one call in flight it is that one's reply; with several it could be any one's.
    // PROTOCOL.md 6.8.5.
    if (calls_.size() == 1) return DeliverTo(calls_.begin(), mail, me);
    return Fail(std::move(mail.reply.error()));
  }
  const Reply& reply = *mail.reply;
  if (!reply.id) {
    return OutOfStep("sent a reply without an id: " + (reply.kind == Reply::Kind::kError
                                                           ? reply.error.message
                                                           : BriefJson(reply.value)));
  }
  const auto id = static_cast<uint64_t>(*reply.id);
  if (const auto found = calls_.find(id); found != calls_.end()) return DeliverTo(found, mail, me);
  if (*reply.id <= 0 || id > counts_.last_id) {
    return OutOfStep("sent a reply to call " + std::to_string(*reply.id) + ", which was not made");
  }
  Ignore(reply);
  return false;
}

Result<bool> StdioCallTable::DeliverTo(Calls::iterator call, Mail& mail, const StdioReceiver* me) {
  StdioReceiver* const receiver = call->second.receiver;
  const bool is_last = mail.is_last();
  if (receiver == nullptr) {
    if (!is_last) return false;
    --counts_.unawaited;
    if (call->second.released) post_(std::move(call->second.released), AfterCall::kUsable);
    Erase(call);
    return false;
  }
  if (!receiver->UseCredit(mail)) return OutOfStep("sent a chunk for which it had no credit");
  const bool is_mine = receiver == me;
  if (!is_mine) receiver->Hand(std::move(mail));
  if (is_last) Erase(call);
  return is_mine;
}

void StdioCallTable::Ignore(const Reply& reply) {
  if (overdue_ == 0) {
    if (!std::exchange(sends_unasked_, true)) ++counts_.unawaited;
  } else if (reply.final) {
    --overdue_;
    --counts_.unawaited;
  }
}

bool StdioCallTable::Abandon(uint64_t id, Released released, SteadyTime end_of_grace) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return false;
  Call& call = found->second;
  if (call.deadline) deadlines_.erase({*call.deadline, id});
  ++counts_.unawaited;
  call.receiver = nullptr;
  call.kept = nullptr;
  call.released = std::move(released);
  call.deadline = end_of_grace;
  deadlines_.emplace(end_of_grace, id);
  return true;
}

void StdioCallTable::Forget(uint64_t id) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  ++counts_.unawaited;
  ++overdue_;
  Erase(found);
}

void StdioCallTable::Remove(uint64_t id) {
  if (const auto found = calls_.find(id); found != calls_.end()) Erase(found);
}

std::shared_ptr<StdioReceiver> StdioCallTable::Expire(SteadyTime now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto call = calls_.find(deadlines_.begin()->second);
    if (call->second.kept) return call->second.kept;
    // The worker has not ended it within the grace.
    if (call->second.released) post_(std::move(call->second.released), AfterCall::kOverran);
    ++overdue_;
    Erase(call);
  }
  return nullptr;
}

void StdioCallTable::FailAll(Error error, AfterCall after, uint64_t sent) {
  error.message = CutText(error.message, kMostSharedTextBytes);  // each call gets a copy
  Calls calls;
  calls.swap(calls_);
  deadlines_.clear();
  for (auto& [id, call] : calls) {
    if (call.receiver != nullptr) {
      Error own = error;
      own.may_have_run = sent > call.begin;
      call.receiver->Hand({.reply = Fail(std::move(own)), .after = after});
    } else if (call.released) {
      post_(std::move(call.released), after);
    }
  }
  closed_ = Closed{std::move(error), after};
}

bool StdioCallTable::IsAwaited(uint64_t id) const {
  const auto call = calls_.find(id);
  return call != calls_.end() && call->second.receiver != nullptr;
}

std::shared_ptr<StdioReceiver> StdioCallTable::Find(uint64_t id) const {
  const auto call = calls_.find(id);
  return call == calls_.end() ? nullptr : call->second.kept;
}

std::optional<SteadyTime> StdioCallTable::next_deadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

void StdioCallTable::Erase(Calls::iterator call) {
  if (call->second.deadline) deadlines_.erase({*call->second.deadline, call->first});
  calls_.erase(call);
}

}  // namespace snakepit
