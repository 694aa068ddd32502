// The first frame each way on stdio, as a worker reads and answers it: the other side of
// handshake.h. PROTOCOL.md 3. No I/O. Usable from any thread.
#ifndef SNAKEPIT_WIRE_WORKER_SIDE_HANDSHAKE_H_
#define SNAKEPIT_WIRE_WORKER_SIDE_HANDSHAKE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "src/wire/pool_side/handshake.h"

namespace snakepit {

// The pool's negotiation. PROTOCOL.md 3.1.
struct PoolOffer {
  std::vector<Codec> codecs;  // those that this worker has, the preferred one first; never empty
  int version = 1;            // the highest that the pool speaks; may be over kProtocolVersion
  bool stream = false;        // the features that the pool can use
  bool session = false;
  size_t max_frame_bytes = 64u << 20;  // the largest payload that the pool reads
};

// What the first payload from a pool is.
struct Opening {
  // Nothing when the payload is no negotiation: it is then the first message itself, to be given to
  // DecodePoolMessage with `codec` and version 1, which also says what is wrong with it. There is
  // nothing to answer but that.
  std::optional<PoolOffer> offer;
  Codec codec = Codec::kJson;  // without an offer: the connection's. PROTOCOL.md 3.1.6
};

// INVALID_ARGUMENT for a negotiation that cannot be agreed to: no codec that this worker has, or a
// member that cannot be right. Its message is for EncodeRefusalFrame.
Result<Opening> DecodeOpening(std::string_view payload);

// What this worker makes of the offer: the preferred codec, the highest version that both speak,
// and of the features all that were offered. Capacity, max_frame_bytes and worker_id, which the
// worker sets then, are as in an Agreement that nobody has touched.
Agreement AgreeTo(const PoolOffer& offer);

// Appends the answer. Of version 1 it has the codec alone. worker_id must be UTF-8.
void EncodeAnswerFrame(const Agreement& agreement, std::string* out);

// Appends the answer of a worker that cannot agree, and then exits with 1. PROTOCOL.md 3.2.6.
void EncodeRefusalFrame(std::string_view reason, std::string* out);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_WORKER_SIDE_HANDSHAKE_H_
