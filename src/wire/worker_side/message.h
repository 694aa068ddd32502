// Messages on stdio, as a worker reads and writes them. PROTOCOL.md 2.3, 2.4 and 6. No I/O. Usable
// from any thread.
#ifndef SNAKEPIT_WIRE_WORKER_SIDE_MESSAGE_H_
#define SNAKEPIT_WIRE_WORKER_SIDE_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/decode_budget.h"
#include "src/wire/agreement.h"

namespace snakepit {

// A message of the pool, decoded.
struct PoolMessage {
  enum class Kind { kRequest, kCancel, kCredit, kEndSession, kHealth, kInfo, kUnknown };

  Kind kind = Kind::kRequest;
  int64_t id = 0;  // 1 to kMaxId; not in kEndSession and kUnknown

  // Members of a request.
  std::string command;
  Value args;  // a map
  bool stream = false;
  std::optional<int64_t> credit;  // bytes of a stream; absent: no limit. In kCredit: the grant
  std::string session_id;         // empty: none. In kEndSession: the session that has ended
  int64_t timeout_ms = 0;         // 0: none; below 0: passed already
};

// The reason why a payload is no message, and the id to answer with, if it has a readable one.
// PROTOCOL.md 2.6.7. A message that is no request gives no id: a failure with an id ends its call.
struct BadMessage {
  std::optional<int64_t> id;
  Error error;  // INVALID_ARGUMENT; MESSAGE_TOO_LARGE when over the limits, or out of memory
};

// Decodes the payload of a frame from the pool by the agreed codec, version and features.
// Every map is a request in version 1, and members of version 2 are ignored.
tl::expected<PoolMessage, BadMessage> DecodePoolMessage(const Agreement& agreement,
                                                        std::string_view payload,
                                                        const DecodeLimits& limits = {});

// Append whole frames. MESSAGE_TOO_LARGE when the payload is over max_frame_bytes. HANDLER_FAILED,
// naming the place, when the codec cannot hold the value. Both have may_have_run, and leave `*out`
// unchanged.
Result<void> EncodeResultFrame(Codec codec, int version, int64_t id, const Value& result,
                               size_t max_frame_bytes, std::string* out);
// `chunk` is null for a last message that holds none. `*payload_bytes` is the credit that it takes.
Result<void> EncodeChunkFrame(Codec codec, int64_t id, int64_t index, bool final,
                              const Value* chunk, size_t max_frame_bytes, std::string* out,
                              size_t* payload_bytes);

// Appends a failure. With chunk_index from 0 up it is the last message of a stream, after so many
// chunks. Without an id it has `"id":null`. A code that is not a worker's to give becomes
// HANDLER_FAILED. It has `did_not_run` unless error.may_have_run, which is true once a handler was
// called, or the code says it itself (UNIMPLEMENTED, HANDLER_FAILED). The message is repaired where
// it is not UTF-8, and cut to fit max_frame_bytes, 1024 or more.
void EncodeFailureFrame(Codec codec, int version, std::optional<int64_t> id, const Error& error,
                        int64_t chunk_index, size_t max_frame_bytes, std::string* out);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_WORKER_SIDE_MESSAGE_H_
