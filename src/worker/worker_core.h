// A worker but for how it is reached: what both transports serve.
#ifndef SNAKEPIT_SRC_WORKER_WORKER_CORE_H_
#define SNAKEPIT_SRC_WORKER_WORKER_CORE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "snakepit/value.h"
#include "snakepit/worker.h"
#include "src/worker/registry.h"
#include "src/worker/sessions.h"

namespace snakepit {

// Commands and options are set first; then usable from any threads.
class WorkerCore {
 public:
  WorkerCore(std::string name, WorkerOptions options);

  // Counts a call that has ended. PROTOCOL.md 4.8.1.
  void Count(bool succeeded);

  int64_t total_requests() const { return total_requests_.load(std::memory_order_relaxed); }
  int64_t total_errors() const { return total_errors_.load(std::memory_order_relaxed); }
  std::chrono::milliseconds uptime() const;

  // PROTOCOL.md 6.10.3 and 6.10.4; max_message_bytes is the limit of the transport.
  Value Health(int64_t calls_in_flight) const;
  Value Info(size_t max_message_bytes);
  Value::Map Capabilities(size_t max_message_bytes) const;
  Value::Map Stats();
  Value::Map SystemInfo() const;

  const std::string name;
  const WorkerOptions options;
  const std::string worker_id;
  std::string token;  // of gRPC; empty: none. PROTOCOL.md 6.13
  Registry registry;
  Sessions sessions;

 private:
  Value Ping(const Call& call) const;
  Value InfoCommand() const;

  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::atomic<int64_t> total_requests_{0};
  std::atomic<int64_t> total_errors_{0};
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_WORKER_WORKER_CORE_H_
