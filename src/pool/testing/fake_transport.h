// A scripted transport for a pool under test. The workers are real processes, so that they can end,
// but they only sleep, unless a test says otherwise.
#ifndef SNAKEPIT_POOL_TESTING_FAKE_TRANSPORT_H_
#define SNAKEPIT_POOL_TESTING_FAKE_TRANSPORT_H_

#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/pool/launch_factory.h"
#include "src/transport/connection.h"
#include "src/transport/launch.h"

namespace snakepit::testing {

// The methods of every connection; each one that is called must be set before the pool starts, or
// have a default. It must outlive the pool.
struct FakeTransport {
  Agreement agreement;
  std::function<CallOutcome<Value>(const CallRequest&)> call;
  std::function<CallOutcome<int64_t>(const CallRequest&, const ChunkCallback&)> stream;
  std::function<void(const CallRequest&, std::function<void(CallOutcome<Value>)>)> call_async;
  std::function<void(const CallRequest&, ChunkCallback, std::function<void(CallOutcome<int64_t>)>)>
      stream_async;
  std::function<void(SteadyTime, std::function<void(Result<WorkerHealth>)>)> check_health;
  // Null: same as check_health.
  std::function<void(SteadyTime, std::function<void(Result<WorkerHealth>)>)> check_idle;
  std::function<void(const std::string&)> end_session;
  std::function<void()> ask_to_end = [] {};
  std::function<void()> abort = [] {};

  // A connection alone, for tests of one part.
  std::shared_ptr<Connection> Connect();
  LaunchFactory launches();

  // Arguments, secret and connection of each launch.
  std::vector<std::string> argv = {"/bin/sleep", "3600"};
  std::string secret;
  std::function<void(Launch::ReadyCallback)> connect = [this](auto ready) { ready(Connect()); };

  // From the context of the latest launch.
  asio::io_context* io = nullptr;
  std::chrono::milliseconds cancel_grace{0};
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_POOL_TESTING_FAKE_TRANSPORT_H_
