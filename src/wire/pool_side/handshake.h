// The pool's side of the handshake on stdio: the first frame each way, always JSON. It settles
// codec and version. PROTOCOL.md 3. No I/O. Usable from any thread.
#ifndef SNAKEPIT_WIRE_POOL_SIDE_HANDSHAKE_H_
#define SNAKEPIT_WIRE_POOL_SIDE_HANDSHAKE_H_

#include <string>
#include <string_view>

#include "snakepit/error.h"
#include "src/wire/agreement.h"

namespace snakepit {

// Appends the pool's opening frame.
void EncodeOfferFrame(const Offer& offer, std::string* out);

// Decodes the worker's first payload, its answer to the offer.
// - `protocol_selected` with an offered codec: that codec, and version 2 if the answer says so,
//   with the worker's features, capacity and max_frame_bytes.
// - `protocol_error`: START_FAILED with the worker's reason.
// - Any other JSON object comes from a legacy worker: JSON, version 1.
// - A MessagePack map comes from a legacy worker that is fixed to MessagePack: MessagePack,
//   version 1.
// - Anything else is a PROTOCOL_ERROR, and so is a codec that was not offered, a version that this
//   pool does not speak, and a number out of its range.
Result<Agreement> DecodeOfferReply(std::string_view payload, const Offer& offer);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_POOL_SIDE_HANDSHAKE_H_
