// A gRPC worker that the test plays, an io_context on a thread of its own, and a connection between
// the two.
#ifndef SNAKEPIT_TRANSPORT_GRPC_TESTING_FIXTURE_H_
#define SNAKEPIT_TRANSPORT_GRPC_TESTING_FIXTURE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "src/transport/grpc/handshake.h"
#include "src/transport/grpc/testing/fake_worker.h"

namespace snakepit::testing {

// Longest wait for an event that must come, on a loaded machine too.
inline constexpr std::chrono::seconds kLimit{60};
inline constexpr std::chrono::seconds kLongGrace{60};
inline constexpr char kToken[] = "0123456789abcdef0123456789abcdef";

inline SteadyTime Soon() { return std::chrono::steady_clock::now() + kLimit; }

// Keeps the arguments of CallRequest::released.
class Releases {
 public:
  std::function<void(AfterCall)> sink() {
    return [this](AfterCall after) {
      std::lock_guard lock(mutex_);
      told_.push_back(after);
      threads_.push_back(std::this_thread::get_id());
      changed_.notify_all();
    };
  }

  // Returns all when there are `count`; fewer after the limit.
  std::vector<AfterCall> WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLimit, [&] { return told_.size() >= count; });
    return told_;
  }
  size_t count() {
    std::lock_guard lock(mutex_);
    return told_.size();
  }
  std::vector<std::thread::id> threads() {
    std::lock_guard lock(mutex_);
    return threads_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<AfterCall> told_;
  std::vector<std::thread::id> threads_;
};

class GrpcConnectionTest : public ::testing::Test {
 protected:
  GrpcConnectionTest() {
    SetVersion2();
    peer_ = {.worker_id = "worker_3", .token = kToken, .cancel_grace = kLongGrace};
    io_thread_ = std::thread([this] { io_.run(); });
  }

  // The io_context ends by itself when nothing is left to be done.
  ~GrpcConnectionTest() override {
    worker_.Stop();
    if (connection_) connection_->Abort();
    connection_.reset();
    work_.reset();
    io_thread_.join();
  }

  void SetVersion2() {
    worker_.info.set_protocol_version(2);
    worker_.info.add_features("stream");
    worker_.info.add_features("session");
    worker_.info.set_capacity(8);
    worker_.info.set_worker_id("fake");
  }
  void SetVersion1() { worker_.info.Clear(); }

  // Has the worker serve, and returns where.
  virtual std::string Serve() { return worker_.Serve(); }

  // To where Serve says, which is then the peer's address. Aborts where nobody listens.
  UniqueFd ConnectTo(const std::string& where) {
    peer_.address = {.port = std::stoi(where.substr(where.rfind(':') + 1))};
    peer_.check = std::make_shared<GrpcPeerCheck>(getpid(), "");
    return std::move(BeginConnect(peer_.address).value());
  }

  Result<std::shared_ptr<Connection>> Start(SteadyTime deadline = Soon()) {
    UniqueFd connected = ConnectTo(Serve());
    std::promise<Result<std::shared_ptr<Connection>>> ready;
    cancel_start_ = ConnectGrpc(io_, peer_, std::move(connected), deadline,
                                [&ready](auto connection) { ready.set_value(connection); });
    auto future = ready.get_future();
    if (on_started_) on_started_();
    return future.get();
  }

  // Starts, or aborts the test.
  Connection& Connect() {
    auto connection = Start();
    if (!connection) {
      ADD_FAILURE() << connection.error().ToString();
      abort();
    }
    connection_ = std::move(*connection);
    return *connection_;
  }

  Error StartError() {
    auto connection = Start();
    if (connection) {
      ADD_FAILURE() << "it started";
      return {};
    }
    return connection.error();
  }

  static CallRequest Request(std::string_view command, const Value& args = kNoArgs) {
    return {.command = command, .args = &args, .deadline = Soon()};
  }
  CallRequest Releasable(std::string_view command, const Value& args = kNoArgs) {
    CallRequest request = Request(command, args);
    request.released = releases_.sink();
    return request;
  }

  // Runs `what` on a thread of its own once a handler of the worker has begun.
  std::jthread OnceBegun(std::function<void()> what) {
    return std::jthread([this, what = std::move(what)] {
      EXPECT_TRUE(worker_.WaitForBegun(1));
      what();
    });
  }

  // Runs `begin` on the io thread, and returns what it hands to its `done`.
  template <typename T>
  T OnIo(const std::function<void(std::function<void(T)>)>& begin) {
    std::promise<T> promise;
    asio::post(io_, [&] { begin([&promise](T value) { promise.set_value(std::move(value)); }); });
    return promise.get_future().get();
  }
  CallOutcome<Value> CallAsync(Connection& connection, const CallRequest& request) {
    return OnIo<CallOutcome<Value>>([&](auto done) { connection.CallAsync(request, done); });
  }
  Result<WorkerHealth> CheckHealth(Connection& connection, SteadyTime deadline = Soon()) {
    return OnIo<Result<WorkerHealth>>([&](auto done) { connection.CheckHealth(deadline, done); });
  }

  inline static const Value kNoArgs = Value::Map{};

  FakeWorker worker_;
  GrpcPeer peer_;
  std::function<void()> on_started_;
  std::function<void()> cancel_start_;
  Releases releases_;
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  std::thread io_thread_;
  std::shared_ptr<Connection> connection_;
};

inline std::function<bool(const Chunk&)> Into(std::vector<Chunk>* chunks) {
  return [chunks](const Chunk& chunk) {
    chunks->push_back(chunk);
    return true;
  };
}

}  // namespace snakepit::testing

#endif  // SNAKEPIT_TRANSPORT_GRPC_TESTING_FIXTURE_H_
