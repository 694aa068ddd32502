// Results as the map<string, bytes> of the gRPC messages of version 1. PROTOCOL.md 4.3.
#ifndef SNAKEPIT_WORKER_GRPC_RESULT_MAP_H_
#define SNAKEPIT_WORKER_GRPC_RESULT_MAP_H_

#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/wire/proto_map.h"

namespace snakepit {

// From the worker: replaces `*out` by the members of a result or chunk: bytes and text as they are,
// all else as JSON. What is no map becomes the one member `result`. HANDLER_FAILED, naming the
// place, when that cannot hold it. (To the worker, DecodeMap of proto_map.h reads by the same rules
// in either direction.)
Result<void> EncodeResultMap(const Value& result, ProtoMap* out);

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_GRPC_RESULT_MAP_H_
