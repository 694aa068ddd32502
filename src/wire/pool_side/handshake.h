// The first frame each way on stdio, always JSON: which codec and which version. PROTOCOL.md 3.
// No I/O. Usable from any thread.
#ifndef SNAKEPIT_WIRE_POOL_SIDE_HANDSHAKE_H_
#define SNAKEPIT_WIRE_POOL_SIDE_HANDSHAKE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "snakepit/value.h"

namespace snakepit {

// The newest version of the protocol that this pool speaks; it speaks all from 1 on.
inline constexpr int kProtocolVersion = 2;

// Calls in flight that a worker may declare to take. PROTOCOL.md 3.2.8.
inline constexpr int kMaxCapacity = 65'536;

// What either side may give as the largest payload that it reads. PROTOCOL.md 3.1.7.
inline constexpr int64_t kLeastFrameLimit = 1024;
inline constexpr int64_t kGreatestFrameLimit = INT32_MAX;

struct Offer {
  std::vector<Codec> codecs;           // the preferred one first; never empty
  size_t max_frame_bytes = 64u << 20;  // the largest payload that the pool reads: 3.1.7
};

// What pool and worker go on with. Over gRPC `codec` means nothing.
struct Agreement {
  Codec codec = Codec::kJson;
  int version = 1;       // 1, the legacy protocol, or 2
  bool stream = false;   // the worker streams
  bool session = false;  // the worker knows sessions
  int capacity = 1;      // calls in flight that the worker takes
  // The largest payload that the worker reads; the pool's own limit when the worker has not said.
  size_t max_frame_bytes = 64u << 20;
  std::string worker_id;  // what the worker calls itself; often empty
};

// Appends the pool's opening frame.
void EncodeOfferFrame(const Offer& offer, std::string* out);

// What the worker's first payload makes of the offer.
// - `protocol_selected` with an offered codec: that, and version 2 if it says so, with what the
// worker
//   has of the features, its capacity and its max_frame_bytes.
// - `protocol_error`: START_FAILED with the worker's reason.
// - Any other JSON object is what a legacy worker answers: JSON, version 1.
// - A MessagePack map is what a legacy worker that is fixed to MessagePack answers: likewise.
// - All else, a codec that was not offered, a version that this pool does not speak, and a number
//   that is out of its range: PROTOCOL_ERROR.
Result<Agreement> DecodeOfferReply(std::string_view payload, const Offer& offer);

// Whether the `features` of an offer, or of an answer, list that one.
bool ListsFeature(const Value& message, std::string_view feature);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_POOL_SIDE_HANDSHAKE_H_
