// The worker's side of the handshake on stdio: it reads the pool's first frame and answers it.
// PROTOCOL.md 3. No I/O. Usable from any thread.
#ifndef SNAKEPIT_WIRE_WORKER_SIDE_HANDSHAKE_H_
#define SNAKEPIT_WIRE_WORKER_SIDE_HANDSHAKE_H_

#include <optional>
#include <string>
#include <string_view>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "src/wire/agreement.h"

namespace snakepit {

// The first payload from a pool.
struct Opening {
  // Absent when the payload is no negotiation. It is then the first message itself: give it to
  // DecodePoolMessage with `codec` and version 1, which also says what is wrong with it. The
  // opening itself gets no answer then.
  std::optional<Offer> offer;
  Codec codec = Codec::kJson;  // without an offer: the connection's. PROTOCOL.md 3.1.6
};

// The offer's codecs are those that this worker has, each once; its version is 1 when it names
// none. INVALID_ARGUMENT for a negotiation that cannot be agreed to: it has no codec of this
// worker, or an invalid member. The message is for EncodeRefusalFrame.
Result<Opening> DecodeOpening(std::string_view payload);

// The agreement that this worker makes of the offer: the preferred codec, the highest version that
// both speak, and all offered features. The worker sets capacity, max_frame_bytes and worker_id
// itself; here they have their defaults.
Agreement AgreeTo(const Offer& offer);

// Appends the answer. In version 1 it has the codec alone. worker_id must be UTF-8.
void EncodeAnswerFrame(const Agreement& agreement, std::string* out);

// Appends the answer of a worker that cannot agree, and then exits with 1. PROTOCOL.md 3.2.6.
void EncodeRefusalFrame(std::string_view reason, std::string* out);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_WORKER_SIDE_HANDSHAKE_H_
