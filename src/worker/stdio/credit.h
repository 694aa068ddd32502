// The bytes of chunks that a stream may still send. PROTOCOL.md 6.7.
#ifndef SNAKEPIT_WORKER_STDIO_CREDIT_H_
#define SNAKEPIT_WORKER_STDIO_CREDIT_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>

#include "src/base/mutex.h"

namespace snakepit {

// Usable from any thread.
class Credit {
 public:
  explicit Credit(int64_t bytes) : bytes_(bytes) {}

  // bytes: 1 to 2^31 - 1.
  void Grant(int64_t bytes);

  // No more will be granted.
  void End();

  // Takes the bytes off if there is any credit. One chunk may take it below 0.
  bool TryTake(size_t bytes);

  // Same as TryTake, but waits for credit until the deadline, if any, a stop or the End.
  bool Take(size_t bytes, const std::stop_token& stop,
            std::optional<std::chrono::steady_clock::time_point> deadline);

 private:
  Mutex mutex_;
  std::condition_variable_any granted_;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_STDIO_CREDIT_H_
