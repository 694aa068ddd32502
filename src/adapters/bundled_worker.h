// The bundled worker, python/snakepit_bridge, as an adapter.
#ifndef SNAKEPIT_ADAPTERS_BUNDLED_WORKER_H_
#define SNAKEPIT_ADAPTERS_BUNDLED_WORKER_H_

#include <vector>

#include "snakepit/adapter.h"
#include "src/adapters/transport_kind.h"

namespace snakepit {

// INTERNAL if the runfiles of this program do not have the worker. `codecs`: those that the
// handshake on stdio offers.
Result<Adapter> BundledWorker(TransportKind transport,
                              std::vector<Codec> codecs = {Codec::kMessagePack, Codec::kJson});

}  // namespace snakepit

#endif  // SNAKEPIT_ADAPTERS_BUNDLED_WORKER_H_
