// TransportKind: the transports by name, for command lines and reports.
#ifndef SNAKEPIT_ADAPTERS_TRANSPORT_KIND_H_
#define SNAKEPIT_ADAPTERS_TRANSPORT_KIND_H_

#include <string_view>
#include <vector>

#include "snakepit/adapter.h"

namespace snakepit {

enum class TransportKind { kStdio, kGrpc };

// "stdio" or "grpc", as flags have them.
std::string_view TransportFlag(TransportKind transport);

// kStdio for any name but "grpc": CLI11 has checked it.
TransportKind TransportFromFlag(std::string_view name);

// "stdio" or "gRPC", for people.
std::string_view TransportName(TransportKind transport);

// Completes the adapter of a worker whose flags are those of the project's SDKs: it serves gRPC on
// a Unix socket, or stdio with a handshake that offers the codecs.
void ServeOver(TransportKind transport, Adapter& adapter,
               std::vector<Codec> codecs = {Codec::kMessagePack, Codec::kJson});

}  // namespace snakepit

#endif  // SNAKEPIT_ADAPTERS_TRANSPORT_KIND_H_
