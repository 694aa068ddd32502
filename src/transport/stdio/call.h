// One call on stdio, from its request to its end: what each message of the worker means for it. No
// I/O. PROTOCOL.md 2.4, 2.6 and 6.3.
#ifndef SNAKEPIT_TRANSPORT_STDIO_CALL_H_
#define SNAKEPIT_TRANSPORT_STDIO_CALL_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "src/transport/connection.h"
#include "src/wire/pool_side/message.h"

namespace snakepit {

// Not synchronised. What `request` and `on_chunk` point to must outlive it.
class StdioCall {
 public:
  // `on_chunk` is null for a call that is no stream.
  StdioCall(const Agreement& agreement, const CallRequest& request, const ChunkCallback* on_chunk)
      : version_(agreement.version), request_(request), on_chunk_(on_chunk) {}

  // What to do after a message.
  enum class Next {
    kAwaitMore,
    kEnd,      // the outcome is there
    kAbandon,  // the stream is given up, the outcome is there, the worker goes on
  };

  // A message for this call. Calls on_chunk.
  Next OnReply(Reply reply);

  // The reply could not be decoded; `error` is PROTOCOL_ERROR.
  void OnUndecodable(Error error);

  // The outcome when the call ends without a last message.
  void Fail(Error error, AfterCall after);

  // What the connection is good for after a call that OnReply, or Fail, abandoned.
  void Abandoned(AfterCall after) { outcome_.after = after; }

  const CallRequest& request() const { return request_; }
  bool is_stream() const { return on_chunk_ != nullptr; }
  CallOutcome<Value> TakeOutcome() { return std::move(outcome_); }
  // The same for a stream: the number of its chunks.
  CallOutcome<int64_t> TakeStreamOutcome() {
    if (outcome_.result) return {chunks_, outcome_.after};
    return {tl::unexpected<Error>(std::move(outcome_.result.error())), outcome_.after};
  }

 private:
  Next OnResult(Value result);
  Next OnChunk(Reply reply);
  Next OnUndecodedChunk(Error error);
  Next UnexpectedChunk();
  Next End(Result<Value> result);
  Next OutOfStep(std::string what);

  const int version_;
  const CallRequest& request_;
  const ChunkCallback* const on_chunk_;
  int64_t chunks_ = 0;
  CallOutcome<Value> outcome_{Value(), AfterCall::kUsable};
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_CALL_H_
