// The commands of a worker with their sessions, counts and health: served alike by both transports.
#ifndef SNAKEPIT_WORKER_COMMAND_SERVICE_H_
#define SNAKEPIT_WORKER_COMMAND_SERVICE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "snakepit/value.h"
#include "snakepit/worker.h"
#include "src/worker/registry.h"
#include "src/worker/sessions.h"

namespace snakepit {

// Set up commands and options first; then it is usable from any thread.
class CommandService {
 public:
  CommandService(std::string name, WorkerOptions options);

  // Counts a call that has ended. PROTOCOL.md 4.8.1.
  void Count(bool succeeded);

  int64_t total_requests() const { return total_requests_.load(std::memory_order_relaxed); }
  int64_t total_errors() const { return total_errors_.load(std::memory_order_relaxed); }
  std::chrono::milliseconds uptime() const;

  // The worker's own word on whether it can take calls, in the health answers of both transports. A
  // worker that drains is as healthy as before. PROTOCOL.md 4.8.1 and 6.10.5.
  bool healthy() const { return healthy_.load(std::memory_order_relaxed); }
  void set_healthy(bool healthy) { healthy_.store(healthy, std::memory_order_relaxed); }

  // PROTOCOL.md 6.10.3 and 6.10.4; max_message_bytes is the limit of the transport.
  Value Health(int64_t calls_in_flight) const;
  Value Info(size_t max_message_bytes);
  Value::Map Capabilities(size_t max_message_bytes) const;
  Value::Map Stats();
  Value::Map SystemInfo() const;

  const std::string name;
  const WorkerOptions options;
  const std::string worker_id;
  std::string token;  // for gRPC; empty: none. PROTOCOL.md 6.13
  Registry registry;
  Sessions sessions;

 private:
  Value Ping(const Call& call) const;
  Value InfoCommand() const;

  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::atomic<bool> healthy_{true};
  std::atomic<int64_t> total_requests_{0};
  std::atomic<int64_t> total_errors_{0};
};

}  // namespace snakepit

#endif  // SNAKEPIT_WORKER_COMMAND_SERVICE_H_
