// What must hold of any payload, in either codec and version.
#ifndef SNAKEPIT_FUZZ_PAYLOAD_CHECKS_H_
#define SNAKEPIT_FUZZ_PAYLOAD_CHECKS_H_

#include <string_view>

#include "snakepit/adapter.h"

namespace snakepit {

// All that follow, but CheckHandshake, in both versions of the protocol.
void CheckPayload(Codec codec, std::string_view payload);

// A payload that decodes is the same value, bit for bit, after encoding and decoding once more; one
// that does not has an error of one line.
void CheckRoundTrip(Codec codec, int version, std::string_view payload);

// What is decoded within a limit takes no more memory than that; what is not is MESSAGE_TOO_LARGE.
void CheckLimit(Codec codec, int version, std::string_view payload);

// DecodeReply gives a reply that is consistent in itself, or a PROTOCOL_ERROR of one line.
void CheckReply(Codec codec, int version, std::string_view payload);

// DecodePoolMessage gives a message that is consistent in itself, a request being the same when it
// is sent once more; or an error of one line, and the failure that is its answer can be read.
void CheckPoolMessage(Codec codec, int version, std::string_view payload);

// DecodeOfferReply agrees only on what was offered, and DecodeOpening offers only what can be
// agreed on.
void CheckHandshake(std::string_view payload);

}  // namespace snakepit

#endif  // SNAKEPIT_FUZZ_PAYLOAD_CHECKS_H_
