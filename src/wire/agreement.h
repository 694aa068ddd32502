// The handshake's two outcomes as data: what the pool offers, and what both sides agree on.
// PROTOCOL.md 3. Usable from any thread.
#ifndef SNAKEPIT_WIRE_AGREEMENT_H_
#define SNAKEPIT_WIRE_AGREEMENT_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "snakepit/adapter.h"
#include "snakepit/value.h"
#include "src/wire/limits.h"

namespace snakepit {

// Names of the features of version 2. PROTOCOL.md 3.1.8.
inline constexpr std::string_view kStreamFeature = "stream";
inline constexpr std::string_view kSessionFeature = "session";

// The pool's side of the handshake. The defaults are this pool's.
struct Offer {
  std::vector<Codec> codecs;       // the preferred one first; never empty
  int version = kProtocolVersion;  // the highest that the pool speaks; may be over kProtocolVersion
  bool stream = true;              // features that the pool can use
  bool session = true;
  size_t max_frame_bytes = kDefaultMessageLimit;  // the largest payload that the pool reads
};

// The rules that pool and worker go on with. Over gRPC `codec` means nothing.
struct Agreement {
  Codec codec = Codec::kJson;
  int version = 1;       // 1, the legacy protocol, or 2
  bool stream = false;   // the worker streams
  bool session = false;  // the worker knows sessions
  int capacity = 1;      // calls in flight that the worker takes
  // The largest payload that the worker reads; the pool's own limit when the worker has not said.
  size_t max_frame_bytes = kDefaultMessageLimit;
  std::string worker_id;  // the worker's name for itself; often empty
};

// True if the `features` of an offer, or of an answer, list that one.
bool ListsFeature(const Value& message, std::string_view feature);

}  // namespace snakepit

#endif  // SNAKEPIT_WIRE_AGREEMENT_H_
