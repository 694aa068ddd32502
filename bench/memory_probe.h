// The memory of a pool and of its worker, in a process that has nothing else.
#ifndef SNAKEPIT_BENCH_MEMORY_PROBE_H_
#define SNAKEPIT_BENCH_MEMORY_PROBE_H_

#include <string_view>

#include "bench/subject.h"
#include "snakepit/error.h"
#include "snakepit/value.h"

namespace snakepit {

// The argument that makes this program a probe, followed by the transport's name.
inline constexpr std::string_view kMemoryProbeFlag = "--run_memory_probe=";

// Starts this program as a probe, and returns its figures: a map of double, in MiB.
// {worker,pool}_{rss,pss}_{idle,used}_mib, where idle is after the start and used is after the
// round trips of 1 MiB.
Result<Value> ProbeMemory(Transport transport);

// The probe: starts a pool, makes the round trips and writes the figures to stdout as JSON.
Result<void> RunMemoryProbe(Transport transport);

}  // namespace snakepit

#endif  // SNAKEPIT_BENCH_MEMORY_PROBE_H_
