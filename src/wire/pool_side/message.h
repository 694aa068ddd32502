// Messages on stdio, as the pool writes and reads them. PROTOCOL.md 2.3, 2.4 and 6. No I/O. Usable
// from any thread.
#ifndef SNAKEPIT_WIRE_POOL_SIDE_MESSAGE_H_
#define SNAKEPIT_WIRE_POOL_SIDE_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/value/decode_budget.h"
#include "src/value/encode_limits.h"

namespace snakepit {

struct Request {
  uint64_t id = 0;  // 1 to 2^53 - 1, which every peer can hold
  std::string_view command;
  const Value* args = nullptr;  // a map; null, or a null value, stands for an empty one
  int version = 1;              // the agreed version of the protocol: 1 or 2
  // Only sent in version 2.
  bool stream = false;
  int64_t credit = 0;           // first grant of a stream, in bytes, up to 2^31 - 1; 0: no limit
  std::string_view session_id;  // empty: none
  int64_t timeout_ms = 0;       // 0: none
};

// Appends the request as a whole frame with a payload of at most limits.max_bytes. INVALID_ARGUMENT
// names the place ("args.items[3]") that the codec cannot hold. Other errors are those of
// EncodeBudget, and INTERNAL when memory runs out. On an error `*out` is unchanged.
Result<void> EncodeRequestFrame(Codec codec, const Request& request, const EncodeLimits& limits,
                                std::string* out);

// Append the other messages of version 2 as whole frames. PROTOCOL.md 6.6, 6.7, 6.9 and 6.10. They
// are smaller than any limit: the worker has read session_id (UTF-8) in a larger message.
void AppendCancelFrame(Codec codec, uint64_t id, std::string* out);
// bytes: 1 to 2^31 - 1.
void AppendCreditFrame(Codec codec, uint64_t id, int64_t bytes, std::string* out);
void AppendEndSessionFrame(Codec codec, std::string_view session_id, std::string* out);
// Answered by a result: a map of PROTOCOL.md 6.10.3.
void AppendHealthFrame(Codec codec, uint64_t id, std::string* out);

struct Reply {
  enum class Kind { kResult, kChunk, kError };

  std::optional<int64_t> id;  // absent in what some workers answer to what they cannot read
  Kind kind = Kind::kResult;
  // The result or the chunk. A stream may end without a last chunk: then has_value is false.
  Value value;
  bool has_value = false;
  Error error;  // if the kind is kError
  // Index of the chunk, from 0, also of the one in whose place a stream ended by an error; else -1.
  int64_t chunk_index = -1;
  // True if nothing follows it. A result and an error that the worker reports are always final. A
  // chunk that could not be decoded within the limits is an error that may not be.
  bool final = true;
};

// Decodes the payload of a frame from a worker that speaks that version of the protocol. In version
// 2 values are the lossless ones (PROTOCOL.md 6.12), and a failure may say that the command did not
// run. PROTOCOL_ERROR says what is wrong with the payload and quotes its first bytes; INTERNAL when
// memory runs out for the whole payload. If only the value goes over the limits, or memory runs out
// for it, the reply is of kind kError with the error of DecodeMsgpack or DecodeJson: the call has
// failed, but the messages are in step. A legacy worker's result may hold an error
// (LegacyResultError); it is returned as a result here.
Result<Reply> DecodeReply(Codec codec, int version, std::string_view payload,
                          const DecodeLimits& limits = {});

// The same, except that a value (has_value) is null. It is quick, and so finds the call of a large
// reply. MESSAGE_TOO_LARGE when the rest is over the limit.
Result<Reply> DecodeReplyWithoutValue(Codec codec, int version, std::string_view payload,
                                      size_t max_decoded_bytes);

// The error that a worker reports, on any transport. PROTOCOL.md 5.2. `code` is the name that it
// gave, or empty. A code that is not a worker's to give (WorkersCode) becomes HANDLER_FAILED.
// Without a code it is LegacyErrorCode. may_have_run is true unless it is UNIMPLEMENTED. kNoReason
// replaces an empty text.
inline constexpr std::string_view kNoReason =
    "the worker gave no reason; what it wrote to stderr may say more";
Error WorkerError(std::string_view code, std::string_view error_text);

// UNIMPLEMENTED when the text begins with "Unknown command", in upper or lower case, else
// HANDLER_FAILED. PROTOCOL.md 2.7.
ErrorCode LegacyErrorCode(std::string_view error_text);

// The error in a legacy worker's result, {"status": "error", "error": text, …}; nothing when it is
// an ordinary result. PROTOCOL.md 2.7.
std::optional<Error> LegacyResultError(const Value& result);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_POOL_SIDE_MESSAGE_H_
