#include "bench/subject.h"

#include <string>
#include <utility>

#include "src/adapters/bundled_worker.h"

namespace snakepit {

std::string_view WireName(Wire wire) {
  switch (wire) {
    case Wire::kJson:
      return "json";
    case Wire::kMessagePack:
      return "msgpack";
    case Wire::kGrpc:
      return "grpc";
  }
  return "?";
}

std::optional<Wire> WireFromName(std::string_view name) {
  for (const Wire wire : kWires) {
    if (WireName(wire) == name) return wire;
  }
  return std::nullopt;
}

Result<Adapter> AdapterFor(Wire wire) {
  switch (wire) {
    case Wire::kJson:
      return BundledWorker(TransportKind::kStdio, {Codec::kJson});
    case Wire::kMessagePack:
      return BundledWorker(TransportKind::kStdio, {Codec::kMessagePack});
    case Wire::kGrpc:
      return BundledWorker(TransportKind::kGrpc);
  }
  return Fail(ErrorCode::kInternal, "no such transport");
}

Result<Pool> StartPool(Wire wire) {
  Result<Adapter> adapter = AdapterFor(wire);
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
