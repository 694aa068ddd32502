// The cost of the transports: round trips, first chunks, starts and memory, beside a floor in the
// same run. README.md says how to read it.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/frame_peer.h"
#include "bench/memory_probe.h"
#include "bench/subject.h"
#include "bench/summary.h"
#include "snakepit/pool.h"
#include "src/wire/frame.h"
#include "src/wire/pool_side/handshake.h"
#include "src/wire/pool_side/message.h"

namespace snakepit {
namespace {

using benchmark::State;
using std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr size_t kMaxFrameBytes = 64u << 20;
constexpr int kStarts = 5;

// --- Timing ------------------------------------------------------------------------------------

// The duration of a function. Its result is destroyed outside that time.
template <typename Call>
Result<Seconds> Timed(Call call) {
  const auto start = steady_clock::now();
  auto result = call();
  const Seconds elapsed = steady_clock::now() - start;
  if (!result) return Fail(std::move(result.error()));
  return elapsed;
}

// The percentile by nearest rank. `sorted` is not empty.
double Percentile(const std::vector<double>& sorted, double percent) {
  const auto rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
  return sorted[std::max<size_t>(static_cast<size_t>(rank), 1) - 1];
}

void SkipWith(State& state, const Error& error) { state.SkipWithError(error.ToString().c_str()); }

// Runs the loop, where `measured` returns the time of one pass. Reports p50_<unit> and p99_<unit>,
// in units of 1 / `per_second` seconds.
template <typename Measured>
void RunLoop(State& state, const std::string& unit, double per_second, Measured measured) {
  std::vector<double> samples;
  samples.reserve(state.max_iterations);
  for (auto _ : state) {
    const Result<Seconds> elapsed = measured();
    if (!elapsed) {
      SkipWith(state, elapsed.error());
      break;
    }
    state.SetIterationTime(elapsed->count());
    samples.push_back(elapsed->count() * per_second);
  }
  if (samples.empty()) return;
  std::sort(samples.begin(), samples.end());
  state.counters["p50_" + unit] = Percentile(samples, 50);
  state.counters["p99_" + unit] = Percentile(samples, 99);
}

// A loop of round trips. bytes_per_second counts the payload both ways.
template <typename Call>
void RunRoundTrips(State& state, size_t payload_bytes, Call call) {
  RunLoop(state, "us", 1e6, [&call] { return Timed(call); });
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * 2 * payload_bytes));
}

// --- Shared by the benchmarks ------------------------------------------------------------------

// The bundled worker on stdio without a pool, after the handshake.
Result<std::unique_ptr<FramePeer>> StartWorkerWithoutPool(Codec codec) {
  Result<Adapter> adapter = AdapterFor(codec == Codec::kJson ? Wire::kJson : Wire::kMessagePack);
  if (!adapter) return Fail(std::move(adapter.error()));
  auto peer = FramePeer::Start(adapter->argv, adapter->environment, Waiting::kPoll);
  if (!peer) return peer;
  const Offer offer{.codecs = {codec}};
  std::string frame;
  EncodeOfferFrame(offer, &frame);
  Result<std::string_view> answer = (*peer)->RoundTrip(frame);
  if (!answer) return Fail(std::move(answer.error()));
  Result<Agreement> agreement = DecodeOfferReply(answer->substr(kFrameHeaderBytes), offer);
  if (!agreement) return Fail(std::move(agreement.error()));
  if (agreement->codec != codec || agreement->version != kProtocolVersion) {
    return Fail(ErrorCode::kProtocolError, "the bundled worker chose another codec or version");
  }
  return peer;
}

// The processes that the benchmarks talk to. Each is started once, on first use, and ended by the
// destructor. A failed start fails every benchmark that uses the process.
class Subjects {
 public:
  Result<Pool>& PoolOver(Wire wire) { return Get(pools_, wire, StartPool); }
  Result<std::unique_ptr<FramePeer>>& FrameEcho(Waiting waiting) {
    return Get(echoes_, waiting, FramePeer::StartEcho);
  }
  Result<std::unique_ptr<FramePeer>>& WorkerWithoutPool(Codec codec) {
    return Get(workers_, codec, StartWorkerWithoutPool);
  }

 private:
  template <typename Key, typename T>
  static T& Get(std::map<Key, T>& all, Key key, T (*start)(Key)) {
    const auto it = all.find(key);
    return it != all.end() ? it->second : all.emplace(key, start(key)).first->second;
  }

  std::map<Wire, Result<Pool>> pools_;
  std::map<Waiting, Result<std::unique_ptr<FramePeer>>> echoes_;
  std::map<Codec, Result<std::unique_ptr<FramePeer>>> workers_;
};

// --- Benchmarks --------------------------------------------------------------------------------

void FrameEchoRoundTrip(State& state, Subjects& subjects, Waiting waiting, size_t payload_bytes) {
  auto& peer = subjects.FrameEcho(waiting);
  if (!peer) return SkipWith(state, peer.error());
  std::string frame;
  const size_t start = BeginFrame(&frame);
  frame.append(payload_bytes, 'x');
  if (auto ended = EndFrame(&frame, start, kMaxFrameBytes); !ended) {
    return SkipWith(state, ended.error());
  }
  const Result<std::string_view> answer = (*peer)->RoundTrip(frame);
  if (!answer) return SkipWith(state, answer.error());
  if (*answer != frame) return state.SkipWithError("the echo differs from what was sent");
  RunRoundTrips(state, payload_bytes, [&] { return (*peer)->RoundTrip(frame); });
}

void WorkerRoundTrip(State& state, Subjects& subjects, Codec codec, size_t payload_bytes) {
  auto& peer = subjects.WorkerWithoutPool(codec);
  if (!peer) return SkipWith(state, peer.error());
  const Value args = EchoArgs(payload_bytes);
  const Request request{.id = 1, .command = "echo", .args = &args, .version = kProtocolVersion};
  std::string frame;
  if (auto encoded = EncodeRequestFrame(codec, request, {.max_bytes = kMaxFrameBytes}, &frame);
      !encoded) {
    return SkipWith(state, encoded.error());
  }
  const Result<std::string_view> answer = (*peer)->RoundTrip(frame);
  if (!answer) return SkipWith(state, answer.error());
  const Result<Reply> reply =
      DecodeReply(codec, kProtocolVersion, answer->substr(kFrameHeaderBytes));
  if (!reply) return SkipWith(state, reply.error());
  if (auto same = CheckEcho(reply->value, args); !same) return SkipWith(state, same.error());
  RunRoundTrips(state, payload_bytes, [&] { return (*peer)->RoundTrip(frame); });
}

void PoolRoundTrip(State& state, Subjects& subjects, Wire wire, size_t payload_bytes) {
  auto& pool = subjects.PoolOver(wire);
  if (!pool) return SkipWith(state, pool.error());
  const Value args = EchoArgs(payload_bytes);
  const Result<Value> result = pool->Execute("echo", args);
  if (!result) return SkipWith(state, result.error());
  if (auto same = CheckEcho(*result, args); !same) return SkipWith(state, same.error());
  RunRoundTrips(state, payload_bytes, [&] { return pool->Execute("echo", args); });
}

// Measures from the call of a stream to its first chunk.
void FirstChunk(State& state, Subjects& subjects, Wire wire) {
  auto& pool = subjects.PoolOver(wire);
  if (!pool) return SkipWith(state, pool.error());
  constexpr int64_t kChunks = 3;
  const Value args = Value::Map{{"count", kChunks}, {"interval", 0}};
  RunLoop(state, "us", 1e6, [&]() -> Result<Seconds> {
    Seconds first{0};
    const auto start = steady_clock::now();
    Result<int64_t> chunks = pool->ExecuteStream("ping_stream", args, [&](const Chunk& chunk) {
      if (chunk.index == 0) first = steady_clock::now() - start;
      return true;
    });
    if (!chunks) return Fail(std::move(chunks.error()));
    if (*chunks != kChunks) return Fail(ErrorCode::kInternal, "not as many chunks as asked for");
    return first;
  });
}

// Measures Pool::Start until the worker is ready, without the shutdown.
void Start(State& state, Wire wire) {
  RunLoop(state, "ms", 1e3, [wire] { return Timed([&] { return StartPool(wire); }); });
}

void Memory(State& state, Wire wire) {
  for (auto _ : state) {
    Result<Value> figures = Fail(ErrorCode::kInternal, "");
    const Result<Seconds> elapsed = Timed([&] { return figures = ProbeMemory(wire); });
    if (!elapsed) return SkipWith(state, elapsed.error());
    state.SetIterationTime(elapsed->count());
    for (const auto& [name, value] : *figures->get_if<Value::Map>()) {
      state.counters[name] = *value.get_if<double>();
    }
  }
}

// --- The program -------------------------------------------------------------------------------

template <typename Function>
benchmark::internal::Benchmark* Register(const std::string& name, Function function) {
  return benchmark::RegisterBenchmark(name.c_str(), function)->UseManualTime();
}

// Benchmarks that are compared run close together, since the machine may change its pace. Memory
// comes first, while no other worker shares pages.
void RegisterAll(Subjects& subjects) {
  for (const Wire wire : kWires) {
    Register(fmt::format("memory/{}", WireName(wire)), [=](State& state) { Memory(state, wire); })
        ->Unit(benchmark::kMillisecond)
        ->Iterations(1);
  }
  for (const Wire wire : kWires) {
    Register(fmt::format("start/{}", WireName(wire)), [=](State& state) { Start(state, wire); })
        ->Unit(benchmark::kMillisecond)
        ->Iterations(kStarts);
  }
  for (const Wire wire : kWires) {
    Register(fmt::format("first_chunk/{}", WireName(wire)), [=, &subjects](State& state) {
      FirstChunk(state, subjects, wire);
    })->Unit(benchmark::kMicrosecond);
  }
  for (const PayloadSize size : kSizes) {
    const auto add = [&size](std::string_view by, auto function) {
      Register(fmt::format("round_trip/{}/{}", by, size.name), function)
          ->Unit(benchmark::kMicrosecond);
    };
    for (const Waiting waiting : {Waiting::kPoll, Waiting::kBlock}) {
      add(waiting == Waiting::kPoll ? "echo_poll" : "echo_block", [=, &subjects](State& state) {
        FrameEchoRoundTrip(state, subjects, waiting, size.bytes);
      });
    }
    for (const Codec codec : {Codec::kJson, Codec::kMessagePack}) {
      add(fmt::format("worker_{}", CodecName(codec)),
          [=, &subjects](State& state) { WorkerRoundTrip(state, subjects, codec, size.bytes); });
    }
    for (const Wire wire : kWires) {
      add(WireName(wire),
          [=, &subjects](State& state) { PoolRoundTrip(state, subjects, wire, size.bytes); });
    }
  }
}

int RunBenchmarks(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  Subjects subjects;
  RegisterAll(subjects);
  SummaryReporter reporter;
  const size_t ran = benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  return ran > 0 && !reporter.failed() ? 0 : 1;
}

int RunProbe(std::string_view wire_name) {
  const std::optional<Wire> wire = WireFromName(wire_name);
  if (!wire) return 2;
  const Result<void> done = RunMemoryProbe(*wire);
  if (!done) std::fprintf(stderr, "memory probe: %s\n", done.error().ToString().c_str());
  return done ? 0 : 1;
}

}  // namespace
}  // namespace snakepit

int main(int argc, char** argv) {
  using namespace snakepit;
  // Other roles of this program, which starts itself for them.
  const std::string_view role = argc == 2 ? argv[1] : "";
  if (role.starts_with(kFrameEchoFlag)) {
    RunFrameEcho(role.ends_with("poll") ? Waiting::kPoll : Waiting::kBlock);
    return 0;
  }
  if (role.starts_with(kMemoryProbeFlag)) return RunProbe(role.substr(kMemoryProbeFlag.size()));
  return RunBenchmarks(argc, argv);
}
