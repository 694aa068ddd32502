// How many bytes of chunks a stream may still send. PROTOCOL.md 6.7.
#ifndef SNAKEPIT_WORKER_STDIO_CREDIT_H_
#define SNAKEPIT_WORKER_STDIO_CREDIT_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

namespace snakepit {

// Usable from any thread.
class Credit {
 public:
  explicit Credit(int64_t bytes) : bytes_(bytes) {}

  // bytes: 1 to 2^31 - 1.
  void Grant(int64_t bytes);

  // No more will be granted.
  void End();

  // Takes the bytes off, if there is any credit: one chunk may take it below 0.
  bool TryTake(size_t bytes);

  // As TryTake, but waits for credit until the deadline, if any, a stop or the End: then false.
  bool Take(size_t bytes, const std::stop_token& stop,
            std::optional<std::chrono::steady_clock::time_point> deadline);

 private:
  std::mutex mutex_;
  std::condition_variable_any granted_;
  int64_t bytes_;
  bool ended_ = false;
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_STDIO_CREDIT_H_
