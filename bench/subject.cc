#include "bench/subject.h"

#include <string>
#include <utility>

#include "src/cli/bundled_worker.h"

namespace snakepit {

std::string_view TransportName(Transport transport) {
  switch (transport) {
    case Transport::kStdioJson:
      return "json";
    case Transport::kStdioMessagePack:
      return "msgpack";
    case Transport::kGrpc:
      return "grpc";
  }
  return "?";
}

std::optional<Transport> TransportFromName(std::string_view name) {
  for (const Transport transport : kTransports) {
    if (TransportName(transport) == name) return transport;
  }
  return std::nullopt;
}

Result<Adapter> AdapterFor(Transport transport) {
  switch (transport) {
    case Transport::kStdioJson:
      return BundledStdioWorker({Codec::kJson});
    case Transport::kStdioMessagePack:
      return BundledStdioWorker({Codec::kMessagePack});
    case Transport::kGrpc:
      return BundledGrpcWorker();
  }
  return Fail(ErrorCode::kInternal, "no such transport");
}

Result<Pool> StartPool(Transport transport) {
  Result<Adapter> adapter = AdapterFor(transport);
  if (!adapter) return Fail(std::move(adapter.error()));
  return Pool::Start({.adapter = std::move(*adapter), .workers = 1});
}

Value EchoArgs(size_t payload_bytes) {
  std::string text(payload_bytes, ' ');
  for (size_t i = 0; i < payload_bytes; ++i) text[i] = static_cast<char>('a' + i % 26);
  return Value::Map{{"data", std::move(text)}};
}

Result<void> CheckEcho(const Value& result, const Value& args) {
  const Value* echoed = result.Find("echoed");
  if (echoed != nullptr && *echoed == args) return {};
  return Fail(ErrorCode::kInternal,
              "the echo differs from what was sent: " + result.ToJson().substr(0, 200));
}

}  // namespace snakepit
