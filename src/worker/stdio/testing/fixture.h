// A stdio server within the test's process, and its pool.
#ifndef SNAKEPIT_WORKER_STDIO_TESTING_FIXTURE_H_
#define SNAKEPIT_WORKER_STDIO_TESTING_FIXTURE_H_

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>

#include "snakepit/value.h"
#include "snakepit/worker.h"
#include "src/base/fd.h"
#include "src/base/testing/await.h"
#include "src/worker/command_service.h"
#include "src/worker/stdio/server.h"
#include "src/worker/testing/stdio_peer.h"

namespace snakepit::testing {

inline Value Args(int64_t n) { return Value::Map{{"n", n}}; }

// The parameter is the codec.
class StdioServerTest : public ::testing::TestWithParam<Codec> {
 protected:
  StdioServerTest() {
    signal(SIGPIPE, [](int) {});
  }

  ~StdioServerTest() override {
    gate_.release(kGateRoom);
    Reset();
  }

  // Ends the server, if there is one, so that another can be created.
  void Reset() {
    if (!peer_) return;
    peer_.reset();
    EXPECT_EQ(status_.wait_for(kLimit), std::future_status::ready);
    thread_.join();
    begun_ = 0;
  }

  CommandService& commands() { return *commands_; }

  void Create(int capacity = 1) {
    commands_ = std::make_unique<CommandService>("test", WorkerOptions{.capacity = capacity});
    commands_->registry.Add("echo", [](const Call& call) { return call.args(); });
    // Waits for a Release and ignores everything else.
    commands_->registry.Add("gate", [this](const Call& call) {
      ++begun_;
      gate_.acquire();
      return call.args();
    });
    commands_->registry.Add("wait", [this](const Call& call) {
      ++begun_;
      return call.Wait(10 * kLimit);
    });
    commands_->registry.AddStream(
        "bytes", [this](const Call& call, ChunkSink& out) -> Result<void> {
          const Bytes chunk{std::string(static_cast<size_t>(call.Integer("size")), 'x')};
          for (int64_t i = 0; i < call.Integer("n"); ++i) {
            ++produced_;
            if (!out.Send(chunk)) break;
          }
          return {};
        });
  }

  StdioPeer& Serve(size_t max_frame_bytes = 64u << 20) {
    auto request = OpenSocketPair();
    auto reply = OpenSocketPair();
    server_ = std::make_unique<StdioServer>(*commands_, std::move(request->second),
                                            std::move(reply->second), max_frame_bytes);
    peer_.emplace(std::move(request->first), std::move(reply->first));
    std::promise<int> status;
    status_ = status.get_future().share();
    thread_ = std::thread([this, status = std::move(status)]() mutable {
      const int value = server_->Run();
      server_.reset();
      status.set_value(value);
    });
    return *peer_;
  }

  // Returns the exit status.
  int End() {
    peer_->CloseInput();
    return AwaitEnd();
  }
  int AwaitEnd() {
    if (status_.wait_for(kLimit) != std::future_status::ready) return -1;
    return status_.get();
  }

  void Release(int calls = 1) { gate_.release(calls); }

  // Waits until so many handlers of `gate` and `wait` have begun.
  void AwaitBegun(int count) { AwaitAtLeast(begun_, count); }

  static void AwaitAtLeast(const std::atomic<int>& counter, int count) {
    ASSERT_TRUE(Await([&] { return counter >= count; }, kLimit)) << counter << " of " << count;
  }

  static constexpr int kGateRoom = 1000;
  std::atomic<int> begun_{0};
  std::atomic<int> produced_{0};
  std::counting_semaphore<100'000> gate_{0};
  std::unique_ptr<CommandService> commands_;
  std::unique_ptr<StdioServer> server_;
  std::optional<StdioPeer> peer_;
  std::thread thread_;
  std::shared_future<int> status_;
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_WORKER_STDIO_TESTING_FIXTURE_H_
