#include "bench/memory_probe.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include "bench/child_process.h"
#include "src/base/fd.h"

namespace snakepit {
namespace {

// Enough calls for the allocators on both sides to settle.
constexpr int kRoundTrips = 32;
constexpr size_t kPayloadBytes = 1 << 20;

// Adds `prefix`_rss_`state`_mib and `prefix`_pss_`state`_mib. The rollup is exact, while the count
// in /proc/<pid>/stat lags by a few hundred KiB.
Result<void> AddFigures(pid_t pid, const std::string& prefix, const std::string& state,
                        Value::Map* figures) {
  const std::string path = "/proc/" + std::to_string(pid) + "/smaps_rollup";
  std::ifstream file(path);
  file.ignore(4096, '\n');  // the range of addresses
  std::string name, unit;
  double kib = 0;
  int found = 0;
  while (found < 2 && file >> name >> kib >> unit) {
    if (name != "Rss:" && name != "Pss:") continue;
    const std::string kind = name == "Rss:" ? "_rss_" : "_pss_";
    figures->emplace(prefix + kind + state + "_mib", kib / 1024);
    ++found;
  }
  if (found == 2) return {};
  return Fail(ErrorCode::kInternal, path + " does not tell Rss and Pss");
}

Result<void> AddBoth(const Pool& pool, const std::string& state, Value::Map* figures) {
  if (auto added = AddFigures(getpid(), "pool", state, figures); !added) return added;
  return AddFigures(pool.Workers().at(0).pid, "worker", state, figures);
}

Result<std::string> ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n == 0) return text;
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
    if (n < 0 && errno != EINTR) return Fail(ErrnoError("read", errno));
  }
}

}  // namespace

Result<Value> ProbeMemory(Wire wire) {
  Result<FdPair> pipe = OpenPipe();
  if (!pipe) return Fail(std::move(pipe.error()));
  Result<ChildProcess> probe =
      ChildProcess::Start({OwnPath(), std::string(kMemoryProbeFlag) + std::string(WireName(wire))},
                          {}, STDIN_FILENO, pipe->second.get());
  if (!probe) return Fail(std::move(probe.error()));
  pipe->second.Reset();
  Result<std::string> text = ReadAll(pipe->first.get());
  if (!text) return Fail(std::move(text.error()));
  const ExitStatus status = probe->Wait();
  if (status != ExitStatus{}) {
    return Fail(ErrorCode::kInternal, "the memory probe ended by " + Describe(status));
  }
  return Value::FromJson(*text);
}

Result<void> RunMemoryProbe(Wire wire) {
  Result<Pool> pool = StartPool(wire);
  if (!pool) return Fail(std::move(pool.error()));
  Value::Map figures;
  if (auto added = AddBoth(*pool, "idle", &figures); !added) return added;
  const Value args = EchoArgs(kPayloadBytes);
  for (int i = 0; i < kRoundTrips; ++i) {
    Result<Value> result = pool->Execute("echo", args);
    if (!result) return Fail(std::move(result.error()));
    if (auto same = CheckEcho(*result, args); !same) return same;
  }
  if (auto added = AddBoth(*pool, "used", &figures); !added) return added;
  std::puts(Value(std::move(figures)).ToJson().c_str());
  return {};
}

}  // namespace snakepit
