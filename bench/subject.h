// What is measured: the transports, a pool over each, and the call `echo`.
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

enum class Transport { kStdioJson, kStdioMessagePack, kGrpc };

inline constexpr Transport kTransports[] = {Transport::kStdioJson, Transport::kStdioMessagePack,
                                            Transport::kGrpc};

// "json", "msgpack" or "grpc", as in the benchmarks' names.
std::string_view TransportName(Transport transport);

// The transport of that name, or nothing when there is none.
std::optional<Transport> TransportFromName(std::string_view name);

struct PayloadSize {
  std::string_view name;
  size_t bytes;
};

inline constexpr PayloadSize kSizes[] = {{"64B", 64}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}};

// The bundled worker on that transport.
Result<Adapter> AdapterFor(Transport transport);

// A pool of one bundled worker, ready.
Result<Pool> StartPool(Transport transport);

// The arguments of `echo`: one text of so many bytes, ASCII that no encoding has to escape.
Value EchoArgs(size_t payload_bytes);

// INTERNAL unless this is what `echo` answers to these arguments.
Result<void> CheckEcho(const Value& result, const Value& args);

}  // namespace snakepit

#endif  // SNAKEPIT_BENCH_SUBJECT_H_
