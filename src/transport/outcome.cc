#include "src/transport/outcome.h"

#include <algorithm>

#include "src/base/quote.h"

namespace snakepit {

Error MayHaveRun(Error error) {
  error.may_have_run = true;
  return error;
}

CallOutcome<Value> DeadlinePassed(const CallRequest& request) {
  Error error{.code = ErrorCode::kDeadlineExceeded,
              .message = "the worker did not answer \"" + Excerpt(request.command, kMostNameBytes) +
                         "\" before the deadline of the call"};
  return {Fail(MayHaveRun(std::move(error))), AfterCall::kUnusable};
}

bool IsRefusedAsEnding(const Error& error, const CallRequest& request) {
  return error.code == ErrorCode::kCancelled && !error.may_have_run &&
         !request.stop.stop_requested();
}

Error NotBegun() {
  return {.code = ErrorCode::kCancelled,
          .message = "the caller gave the call up before it was sent"};
}

Error GivenUp(const CallRequest& request) {
  return MayHaveRun(
      {.code = ErrorCode::kCancelled,
       .message = "the caller gave \"" + Excerpt(request.command, kMostNameBytes) + "\" up"});
}

Error StreamGivenUp() {
  return MayHaveRun({.code = ErrorCode::kCancelled, .message = "the caller gave the stream up"});
}

CallOutcome<int64_t> AsStream(CallOutcome<Value> outcome, const ChunkCallback& on_chunk) {
  if (!outcome.result) return {Fail(std::move(outcome.result.error())), outcome.after};
  const Chunk chunk{.value = std::move(*outcome.result), .index = 0, .final = true};
  if (!on_chunk(chunk)) return {Fail(StreamGivenUp()), outcome.after};
  return {1, outcome.after};
}

int64_t MillisecondsUntil(SteadyTime deadline) {
  const auto left = deadline - std::chrono::steady_clock::now();
  return std::max<int64_t>(1, std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

}  // namespace snakepit
