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
  int version = 1;              // of the protocol, as agreed in the handshake: 1 or 2
  // Only sent in version 2.
  bool stream = false;
  int64_t credit = 0;  // of a stream: the first grant, in bytes, up to 2^31 - 1; 0: no limit
  std::string_view session_id;  // empty: none
  int64_t timeout_ms = 0;       // 0: none
};

// Appends the request as a whole frame, of at most limits.max_bytes of payload. INVALID_ARGUMENT
// when the codec cannot hold it, naming the place ("args.items[3]"); the errors of EncodeBudget,
// and INTERNAL when memory runs out. On an error `*out` is unchanged.
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
  // Of a result, and of a chunk unless has_value is false: a stream may end without a last chunk.
  Value value;
  bool has_value = false;
  Error error;  // of kError
  // Of a chunk, and of an error that ended a stream: the index of the chunk, from 0, else -1.
  int64_t chunk_index = -1;
  // Whether nothing follows it. A result is always final, and what the worker reports as an error;
  // a chunk that could not be decoded within the limits is an error that may not be.
  bool final = true;
};

// Decodes the payload of a frame from a worker that speaks that version of the protocol: in version
// 2 values are the lossless ones (PROTOCOL.md 6.12), and a failure may say that the command did not
// run. PROTOCOL_ERROR says what is wrong with it and quotes its first bytes; INTERNAL when memory
// runs out for all of it. A result of a legacy worker that holds an error inside
// (LegacyResultError) is returned as the result that it is. A value that goes over the limits, or
// for which memory runs out, makes a reply of the kind kError, with the error of DecodeMsgpack or
// DecodeJson: the call has failed, but the messages are in step.
Result<Reply> DecodeReply(Codec codec, int version, std::string_view payload,
                          const DecodeLimits& limits = {});

// The same but for the value, which is null where there is one (has_value): quick, and so for
// finding out whom a large reply is for. MESSAGE_TOO_LARGE when what is left is.
Result<Reply> DecodeReplyWithoutValue(Codec codec, int version, std::string_view payload,
                                      size_t max_decoded_bytes);

// The error that a worker reports, on any transport. PROTOCOL.md 5.2. `code` is the name that it
// gave, empty when it gave none: of the codes, UNIMPLEMENTED, INVALID_ARGUMENT, HANDLER_FAILED,
// DEADLINE_EXCEEDED, CANCELLED and MESSAGE_TOO_LARGE are a worker's to give, any other is
// HANDLER_FAILED. Without a code it is LegacyErrorCode. may_have_run unless UNIMPLEMENTED. In place
// of an empty text stands kNoReason.
inline constexpr std::string_view kNoReason =
    "the worker gave no reason; what it wrote to stderr may say more";
Error WorkerError(std::string_view code, std::string_view error_text);

// The code, if it is a worker's to give (PROTOCOL.md 5.2.1), else HANDLER_FAILED.
ErrorCode WorkersCode(ErrorCode code);

// UNIMPLEMENTED when the text begins with "Unknown command", in upper or lower case, else
// HANDLER_FAILED. PROTOCOL.md 2.7.
ErrorCode LegacyErrorCode(std::string_view error_text);

// Legacy workers report errors as results: {"status": "error", "error": text, …}. The error that
// such a result stands for, or nothing when it is an ordinary one. PROTOCOL.md 2.7.
std::optional<Error> LegacyResultError(const Value& result);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_POOL_SIDE_MESSAGE_H_
