#include "src/adapters/transport_kind.h"

#include <utility>

namespace snakepit {

std::string_view TransportFlag(TransportKind transport) {
  return transport == TransportKind::kGrpc ? "grpc" : "stdio";
}

TransportKind TransportFromFlag(std::string_view name) {
  return name == "grpc" ? TransportKind::kGrpc : TransportKind::kStdio;
}

std::string_view TransportName(TransportKind transport) {
  return transport == TransportKind::kGrpc ? "gRPC" : "stdio";
}

void ServeOver(TransportKind transport, Adapter& adapter, std::vector<Codec> codecs) {
  adapter.argv.insert(adapter.argv.end(), {"--transport", std::string(TransportFlag(transport))});
  if (transport == TransportKind::kGrpc) {
    adapter.argv.insert(adapter.argv.end(), {"--socket", "{socket}"});
    adapter.transport = GrpcTransport{};
  } else {
    adapter.transport = StdioTransport{.codecs = std::move(codecs)};
  }
}

}  // namespace snakepit
