// The subjects of the benchmarks: each transport with its encoding, a pool over it, and the call
// `echo`.
#ifndef SNAKEPIT_BENCH_SUBJECT_H_
#define SNAKEPIT_BENCH_SUBJECT_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "snakepit/adapter.h"
#include "snakepit/error.h"
#include "snakepit/pool.h"
#include "snakepit/value.h"

namespace snakepit {

// A transport with its encoding.
enum class Wire { kJson, kMessagePack, kGrpc };

inline constexpr Wire kWires[] = {Wire::kJson, Wire::kMessagePack, Wire::kGrpc};

// "json", "msgpack" or "grpc": a part of the benchmarks' names.
std::string_view WireName(Wire wire);

// The one of that name, or nothing.
std::optional<Wire> WireFromName(std::string_view name);

struct PayloadSize {
  std::string_view name;
  size_t bytes;
};

inline constexpr PayloadSize kSizes[] = {{"64B", 64}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}};

// The bundled worker over it.
Result<Adapter> AdapterFor(Wire wire);

// A pool of one bundled worker, ready.
Result<Pool> StartPool(Wire wire);

// The arguments of `echo`: one text of so many bytes, in ASCII that no encoding escapes.
Value EchoArgs(size_t payload_bytes);

// INTERNAL unless this is the result of `echo` with these arguments.
Result<void> CheckEcho(const Value& result, const Value& args);

}  // namespace snakepit

#endif  // SNAKEPIT_BENCH_SUBJECT_H_
