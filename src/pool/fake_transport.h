// A transport that does what a test says, linked in the place of transport/launch.cc. The workers
// are real processes, so that they can end, but they only sleep.
#ifndef SNAKEPIT_POOL_FAKE_TRANSPORT_H_
#define SNAKEPIT_POOL_FAKE_TRANSPORT_H_

#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "src/transport/connection.h"

namespace snakepit::testing {

// What the methods of every connection do; to be set before the pool starts. One that is called
// must have been set.
struct FakeTransport {
  Agreement agreement;
  std::function<CallOutcome<Value>(const CallRequest&)> call;
  std::function<CallOutcome<int64_t>(const CallRequest&, const ChunkCallback&)> stream;
  std::function<void(const CallRequest&, std::function<void(CallOutcome<Value>)>)> call_async;
  std::function<void(const CallRequest&, ChunkCallback, std::function<void(CallOutcome<int64_t>)>)>
      stream_async;
  std::function<void(SteadyTime, std::function<void(Result<WorkerHealth>)>)> check_health;
  std::function<void(const std::string&)> end_session;
  std::function<void()> abort = [] {};

  // Of the latest launch.
  asio::io_context* io = nullptr;
  std::chrono::milliseconds cancel_grace{0};
};

// The one in use: what Launch::Prepare makes connections of. A new one for each test.
extern FakeTransport* fake_transport;

}  // namespace snakepit::testing

#endif  // SNAKEPIT_POOL_FAKE_TRANSPORT_H_
