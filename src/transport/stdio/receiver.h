// The receiving end of one call on stdio. PROTOCOL.md 6.6 and 6.7.
#ifndef SNAKEPIT_TRANSPORT_STDIO_RECEIVER_H_
#define SNAKEPIT_TRANSPORT_STDIO_RECEIVER_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "src/transport/connection.h"
#include "src/transport/stdio/call.h"
#include "src/wire/frame.h"
#include "src/wire/pool_side/message.h"

namespace snakepit {

// A message of a call, or the reason why there will be none.
struct Mail {
  Result<Reply> reply;
  size_t payload_bytes = 0;
  // Without a reply, what the connection is good for. kUsable: a payload that cannot be decoded.
  AfterCall after = AfterCall::kUsable;
  TakenPayload large = {};  // the payload, if the value of the reply is yet to be decoded

  bool is_last() const { return !reply || reply->final; }
};

// Takes the messages of its call. StdioCallTable hands them to it.
class StdioReceiver {
 public:
  // Bytes of chunks that a stream may send before they are taken. PROTOCOL.md 6.7. They keep a
  // worker busy while the pool's grant is on its way.
  static constexpr int64_t kStreamCredit = 1 << 20;

  // `on_chunk` is null for a call that is no stream. What the arguments point to must outlive this.
  StdioReceiver(const Agreement& agreement, const CallRequest& request,
                const ChunkCallback* on_chunk)
      : call_(agreement, request, on_chunk), credit_(on_chunk == nullptr ? 0 : kStreamCredit) {}
  virtual ~StdioReceiver() = default;

  // Keeps a message until it is taken. With the lock of the table, on the thread that reads.
  virtual void Hand(Mail mail) = 0;

  // Counts a chunk. False if the worker had no credit for it: its chunks would pile up here. With
  // the lock of the table.
  bool UseCredit(const Mail& mail);
  void AddCredit(int64_t bytes) { credit_ += bytes; }

  // Set by StdioCallTable.
  uint64_t id() const { return id_; }
  void set_id(uint64_t id) { id_ = id; }

  // --- Only for the thread that takes the messages -----------------------------------------------

  StdioCall& call() { return call_; }
  const CallRequest& request() const { return call_.request(); }
  bool is_stream() const { return call_.is_stream(); }

  // Gives the call a message whose value is decoded. Calls on_chunk.
  StdioCall::Next Take(Mail& mail);

  // The error of a stream whose deadline has passed, or whose caller has asked for a stop. A stream
  // may always have more to take; a call ends with its first message.
  std::optional<Error> WhyOver() const;

  // Bytes that are due to be granted to the worker for the chunks taken; 0: none yet.
  int64_t TakeDueCredit();

 private:
  StdioCall call_;
  uint64_t id_ = 0;
  int64_t taken_bytes_ = 0;  // of chunks, since the last grant
  int64_t credit_;           // bytes that the worker may still send; with the lock of the table
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_RECEIVER_H_
