// What a worker reads from stdio and writes to it: the other side of message.h.
// PROTOCOL.md 2.3, 2.4 and 6. No I/O. Usable from any thread.
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
#include "src/wire/pool_side/handshake.h"

namespace snakepit {

// A message of the pool, decoded.
struct PoolMessage {
  enum class Kind { kRequest, kCancel, kCredit, kEndSession, kHealth, kInfo, kUnknown };

  Kind kind = Kind::kRequest;
  int64_t id = 0;  // of all but kEndSession and kUnknown: 1 to 2^53 - 1

  // Of a request.
  std::string command;
  Value args;  // a map
  bool stream = false;
  std::optional<int64_t> credit;  // of a stream, in bytes; absent: no limit. Of kCredit: the grant
  std::string session_id;         // empty: none. Of kEndSession: the one that has ended
  int64_t timeout_ms = 0;         // 0: none; below 0: passed already
};

// Why a payload is no message, and the id to answer with, if an integer could be read as such.
// PROTOCOL.md 2.6.7. A message that is no request gives none: a failure with an id ends its call.
struct BadMessage {
  std::optional<int64_t> id;
  Error error;  // INVALID_ARGUMENT; MESSAGE_TOO_LARGE: over the limits, or there is no memory
};

// Decodes the payload of a frame from the pool, by the codec, the version and the features agreed.
// In version 1 every map is a request, and members of version 2 are ignored.
tl::expected<PoolMessage, BadMessage> DecodePoolMessage(const Agreement& agreement,
                                                        std::string_view payload,
                                                        const DecodeLimits& limits = {});

// Append whole frames. MESSAGE_TOO_LARGE when the payload is over max_frame_bytes, HANDLER_FAILED
// naming the place when the codec cannot hold the value, both with may_have_run; `*out` is then
// unchanged.
Result<void> EncodeResultFrame(Codec codec, int version, int64_t id, const Value& result,
                               size_t max_frame_bytes, std::string* out);
// chunk is null for a last message that holds none. `*payload_bytes` is what it takes off the
// credit.
Result<void> EncodeChunkFrame(Codec codec, int64_t id, int64_t index, bool final,
                              const Value* chunk, size_t max_frame_bytes, std::string* out,
                              size_t* payload_bytes);

// A failure; as the last message of a stream after `chunk_index` chunks where that is not below 0.
// Without an id it is `"id":null`. A code that is not a worker's to give becomes HANDLER_FAILED. It
// has `did_not_run` unless error.may_have_run, which is to be set once a handler was called, and
// unless the code says it: UNIMPLEMENTED and HANDLER_FAILED do. The message is repaired where it is
// not UTF-8, and cut to fit max_frame_bytes, 1024 or more.
void EncodeFailureFrame(Codec codec, int version, std::optional<int64_t> id, const Error& error,
                        int64_t chunk_index, size_t max_frame_bytes, std::string* out);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_WORKER_SIDE_MESSAGE_H_
