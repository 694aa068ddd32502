#include "src/transport/stdio/receiver.h"

#include <utility>

#include "src/transport/outcome.h"

namespace snakepit {

bool StdioReceiver::UseCredit(const Mail& mail) {
  if (!is_stream() || !mail.reply || mail.reply->kind != Reply::Kind::kChunk ||
      !mail.reply->has_value) {
    return true;
  }
  if (credit_ <= 0) return false;
  credit_ -= static_cast<int64_t>(mail.payload_bytes);
  return true;
}

std::optional<Error> StdioReceiver::WhyOver() const {
  if (!is_stream()) return std::nullopt;
  if (std::chrono::steady_clock::now() >= request().deadline) {
    return std::move(DeadlinePassed(request()).result.error());
  }
  if (request().stop.stop_requested()) return StreamGivenUp();
  return std::nullopt;
}

StdioCall::Next StdioReceiver::Take(Mail& mail) {
  if (auto error = WhyOver()) {
    call_.Fail(std::move(*error), AfterCall::kAbandoned);
    return StdioCall::Next::kAbandon;
  }
  if (mail.reply) {
    taken_bytes_ += static_cast<int64_t>(mail.payload_bytes);
    return call_.OnReply(std::move(*mail.reply));
  }
  if (mail.after == AfterCall::kUsable) {
    call_.OnUndecodable(std::move(mail.reply.error()));
  } else {
    call_.Fail(std::move(mail.reply.error()), mail.after);
  }
  return StdioCall::Next::kEnd;
}

int64_t StdioReceiver::TakeDueCredit() {
  return taken_bytes_ < kStreamCredit / 4 ? 0 : std::exchange(taken_bytes_, 0);
}

}  // namespace snakepit
