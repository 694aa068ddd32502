#include "src/base/threads.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sys/resource.h>

#include <mutex>
#include <vector>

#include "src/base/blocked_signals.h"
#include "src/base/fd.h"

namespace snakepit {

std::string ProcessLimitAdvice(int error_number) {
  rlimit limit = {};
  if (error_number != EAGAIN || getrlimit(RLIMIT_NPROC, &limit) != 0) return "";
  return "; all processes of this user may have " +
         (limit.rlim_cur == RLIM_INFINITY ? "any number of" : std::to_string(limit.rlim_cur)) +
         " threads at a time (RLIMIT_NPROC, ulimit -u), and a cgroup may allow fewer (pids.max)";
}

// Little for a process whose address space is limited, and enough for what the program and its
// libraries have in thread_local variables, which the C library puts on the stack.
constexpr size_t kStackBytes = size_t{1} << 20;

Result<void> TryThreads(int count) {
  std::mutex gate;
  const auto wait_at_gate = [](void* mutex) -> void* {
    const std::lock_guard lock(*static_cast<std::mutex*>(mutex));
    return nullptr;
  };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  std::vector<pthread_t> threads;
  threads.reserve(count);
  const BlockedSignals blocked;
  int error = 0;
  {
    const std::lock_guard lock(gate);
    for (int i = 0; i < count && error == 0; ++i) {
      pthread_t thread;
      error = pthread_create(&thread, &attributes, wait_at_gate, &gate);
      if (error == 0) threads.push_back(thread);
    }
  }
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  if (error == 0) return {};
  Error result = ErrnoError("this process can start " + std::to_string(threads.size()) + " of " +
                                std::to_string(count) + " threads",
                            error);
  result.message += ProcessLimitAdvice(error);
  return Fail(std::move(result));
}

}  // namespace snakepit
