// Properties of any payload, in either codec and version.
#ifndef SNAKEPIT_FUZZ_PAYLOAD_CHECKS_H_
#define SNAKEPIT_FUZZ_PAYLOAD_CHECKS_H_

#include <string_view>

#include "snakepit/adapter.h"

namespace snakepit {

// All checks below except CheckHandshake, in both versions of the protocol.
void CheckPayload(Codec codec, std::string_view payload);

// A payload that decodes is the same value, bit for bit, after encoding and decoding once more. Any
// other payload has an error of one line.
void CheckRoundTrip(Codec codec, int version, std::string_view payload);

// A value decoded within a limit takes no more memory than that. Any other is MESSAGE_TOO_LARGE.
void CheckLimit(Codec codec, int version, std::string_view payload);

// DecodeReply gives a reply that is consistent in itself, or a PROTOCOL_ERROR of one line.
void CheckReply(Codec codec, int version, std::string_view payload);

// DecodePoolMessage gives a message that is consistent in itself, or an error of one line whose
// answer, a failure, can be read. A request is the same when it is encoded and decoded once more.
void CheckPoolMessage(Codec codec, int version, std::string_view payload);

// DecodeOfferReply agrees only on what was offered, and DecodeOpening offers only what can be
// agreed on.
void CheckHandshake(std::string_view payload);

}  // namespace snakepit

#endif  // SNAKEPIT_FUZZ_PAYLOAD_CHECKS_H_
