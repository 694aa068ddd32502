// The memory of a pool and of its worker, in a process with nothing else.
#ifndef SNAKEPIT_BENCH_MEMORY_PROBE_H_
#define SNAKEPIT_BENCH_MEMORY_PROBE_H_

#include <string_view>

#include "bench/subject.h"
#include "snakepit/error.h"
#include "snakepit/value.h"

namespace snakepit {

// The argument that makes this program a probe, followed by the name of a Wire.
inline constexpr std::string_view kMemoryProbeFlag = "--run_memory_probe=";

// Starts this program as a probe, and returns its figures: a map of double, in MiB.
// {worker,pool}_{rss,pss}_{idle,used}_mib. Idle is after the start, used after round trips of 1
// MiB.
Result<Value> ProbeMemory(Wire wire);

// The probe: starts a pool, makes the round trips and writes the figures to stdout as JSON.
Result<void> RunMemoryProbe(Wire wire);

}  // namespace snakepit

#endif  // SNAKEPIT_BENCH_MEMORY_PROBE_H_
