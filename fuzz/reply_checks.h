// What must hold of any payload, in either codec.
#ifndef SNAKEPIT_FUZZ_REPLY_CHECKS_H_
#define SNAKEPIT_FUZZ_REPLY_CHECKS_H_

#include <string_view>

#include "snakepit/adapter.h"

namespace snakepit {

// A payload that decodes is the same value after encoding and decoding once more; one that does not
// has an error of one line.
void CheckRoundTrip(Codec codec, std::string_view payload);

// DecodeReply gives a reply that is consistent in itself, or a PROTOCOL_ERROR of one line.
void CheckReply(Codec codec, std::string_view payload);

// DecodeOfferReply agrees only on what was offered.
void CheckOfferReply(std::string_view payload);

}  // namespace snakepit

#endif  // SNAKEPIT_FUZZ_REPLY_CHECKS_H_
