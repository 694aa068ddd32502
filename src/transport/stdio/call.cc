#include "src/transport/stdio/call.h"

#include <optional>
#include <utility>

#include "src/transport/outcome.h"

namespace snakepit {

StdioCall::Next StdioCall::OnReply(Reply reply) {
  switch (reply.kind) {
    case Reply::Kind::kError:
      if (!reply.final) return OnUndecodedChunk(std::move(reply.error));
      return End(tl::unexpected<Error>(std::move(reply.error)));
    case Reply::Kind::kResult:
      return OnResult(std::move(reply.value));
    case Reply::Kind::kChunk:
      return OnChunk(std::move(reply));
  }
  return Next::kAwaitMore;
}

void StdioCall::OnUndecodable(Error error) {
  // The frames are in step, so only the call fails; but of a stream more may follow.
  Fail(MayHaveRun(std::move(error)), is_stream() ? AfterCall::kUnusable : AfterCall::kUsable);
}

void StdioCall::Fail(Error error, AfterCall after) {
  outcome_ = {tl::unexpected<Error>(std::move(error)), after};
}

StdioCall::Next StdioCall::End(Result<Value> result) {
  outcome_ = {std::move(result), AfterCall::kUsable};
  return Next::kEnd;
}

StdioCall::Next StdioCall::OutOfStep(std::string what) {
  Fail(MayHaveRun({.code = ErrorCode::kProtocolError, .message = "the worker " + std::move(what)}),
       AfterCall::kUnusable);
  return Next::kEnd;
}

StdioCall::Next StdioCall::OnUndecodedChunk(Error error) {
  if (!is_stream()) return UnexpectedChunk();
  Fail(std::move(error), AfterCall::kAbandoned);
  return Next::kAbandon;
}

StdioCall::Next StdioCall::UnexpectedChunk() {
  return OutOfStep("sent a chunk in reply to a call that is no stream");
}

StdioCall::Next StdioCall::OnResult(Value result) {
  if (chunks_ > 0) return OutOfStep("sent a result in the middle of a stream");
  if (version_ == 1) {
    if (auto error = LegacyResultError(result)) return End(tl::unexpected<Error>(*error));
  }
  if (!is_stream()) return End(std::move(result));
  // The command does not stream. PROTOCOL.md 6.3.5.
  const Chunk chunk{.value = std::move(result), .index = chunks_++, .final = true};
  if (!(*on_chunk_)(chunk)) return End(tl::unexpected<Error>(StreamGivenUp()));
  return End(Value());
}

StdioCall::Next StdioCall::OnChunk(Reply reply) {
  if (!is_stream()) return UnexpectedChunk();
  if (reply.chunk_index != chunks_) {
    return OutOfStep("sent chunk " + std::to_string(reply.chunk_index) + " where chunk " +
                     std::to_string(chunks_) + " was due");
  }
  if (reply.has_value) {
    const Chunk chunk{.value = std::move(reply.value), .index = chunks_, .final = reply.final};
    ++chunks_;
    if (!(*on_chunk_)(chunk)) {
      Fail(StreamGivenUp(), reply.final ? AfterCall::kUsable : AfterCall::kAbandoned);
      return reply.final ? Next::kEnd : Next::kAbandon;
    }
  }
  return reply.final ? End(Value()) : Next::kAwaitMore;
}

}  // namespace snakepit
