#include "src/base/threads.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "src/base/blocked_signals.h"
#include "src/base/fd.h"
#include "src/base/mutex.h"

namespace snakepit {

std::string ProcessLimitAdvice(int error_number) {
  if (error_number != EAGAIN && error_number != ENOMEM) return "";
  std::string advice;
  rlimit limit = {};
  // A thread's stack that finds no room is EAGAIN, too.
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    advice =
        "; this process may have an address space of " + std::to_string(limit.rlim_cur >> 20) +
        " MiB (RLIMIT_AS, ulimit -v), of which each thread takes its stack (ulimit -s) and more";
  }
  if (error_number != EAGAIN || getrlimit(RLIMIT_NPROC, &limit) != 0) return advice;
  return advice + "; all processes of this user may have " +
         (limit.rlim_cur == RLIM_INFINITY ? "any number of" : std::to_string(limit.rlim_cur)) +
         " threads at a time (RLIMIT_NPROC, ulimit -u), and a cgroup may allow fewer (pids.max)";
}

namespace {

// Address space besides the stacks, for the threads' allocations.
constexpr size_t kSpareBytes = size_t{64} << 20;
// Size of the heap that the C library gives each thread at its first allocation.
constexpr size_t kHeapBytes = size_t{128} << 20;

// The address space left to this process, if it is limited; 0 if that is unknown.
std::optional<size_t> LeftAddressSpace() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const auto statm = ReadFile("/proc/self/statm");
  const size_t used =
      statm ? strtoul(statm->c_str(), nullptr, 10) * static_cast<size_t>(sysconf(_SC_PAGESIZE))
            : limit.rlim_cur;
  return limit.rlim_cur - std::min<size_t>(used, limit.rlim_cur);
}

// Returns 0 or the errno.
int TrySpareMemory() {
  void* const memory =
      mmap(nullptr, kSpareBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return errno;
  munmap(memory, kSpareBytes);
  return 0;
}

}  // namespace

Result<void> TryThreads(int count) {
  const auto left = LeftAddressSpace();
  // Otherwise the heaps of the first threads leave no room for the stacks of the last.
  if (left && *left < count * (kHeapBytes + kSpareBytes)) mallopt(M_ARENA_MAX, 1);
  Mutex gate;
  const auto wait_at_gate = [](void* mutex) -> void* {
    const MutexLock lock(*static_cast<Mutex*>(mutex));
    return nullptr;
  };
  std::vector<pthread_t> threads;
  threads.reserve(count);
  const BlockedSignals blocked;
  int error = 0;
  int memory_error = 0;
  {
    const MutexLock lock(gate);
    for (int i = 0; i < count && error == 0; ++i) {
      pthread_t thread;
      error = pthread_create(&thread, nullptr, wait_at_gate, &gate);
      if (error == 0) threads.push_back(thread);
    }
    if (error == 0) memory_error = TrySpareMemory();
  }
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  if (error == 0 && memory_error == 0) return {};
  Error result = error != 0
                     ? ErrnoError("this process can start " + std::to_string(threads.size()) +
                                      " of " + std::to_string(count) + " threads",
                                  error)
                     : ErrnoError("this process can start " + std::to_string(count) +
                                      " threads, but has no memory for them",
                                  memory_error);
  result.message += ProcessLimitAdvice(error != 0 ? error : memory_error);
  return Fail(std::move(result));
}

}  // namespace snakepit
