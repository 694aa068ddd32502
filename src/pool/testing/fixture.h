// A pool on a scripted transport, for tests.
#ifndef SNAKEPIT_POOL_TESTING_FIXTURE_H_
#define SNAKEPIT_POOL_TESTING_FIXTURE_H_

#include <gtest/gtest.h>

#include <asio/post.hpp>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "snakepit/pool.h"
#include "src/base/testing/await.h"
#include "src/pool/pool_starter.h"
#include "src/pool/testing/fake_transport.h"
#include "src/transport/outcome.h"

namespace snakepit::testing {

inline constexpr std::chrono::seconds kLimit{20};

// The outcome of a call that its caller gave up.
inline Error CallGivenUp() {
  return MayHaveRun({.code = ErrorCode::kCancelled, .message = "the caller gave the call up"});
}

// A value that one thread hands to another.
template <typename T>
class Handover {
 public:
  void Put(T value) {
    std::lock_guard lock(mutex_);
    value_ = std::move(value);
    changed_.notify_all();
  }
  // Fails the test, and gives an empty value, when none comes.
  T Take() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kLimit, [this] { return value_.has_value(); }));
    return std::exchange(value_, std::nullopt).value_or(T());
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<T> value_;
};

using Released = std::function<void(AfterCall)>;

class FakePoolTest : public ::testing::Test {
 protected:
  FakePoolTest() {
    fake_.call = [](const CallRequest&) { return CallOutcome<Value>{Value(1)}; };
  }

  void Begin(int workers = 1) {
    options_.adapter.argv = {"fake"};
    options_.workers = workers;
    auto pool = PoolStarter::Start(options_, fake_.launches());
    ASSERT_TRUE(pool) << pool.error().ToString();
    pool_ = std::move(*pool);
  }

  // The next call is abandoned; every later one succeeds. Its `released` is in abandoned_.
  void AbandonOneCall() {
    fake_.call = [this, first = std::make_shared<std::atomic<bool>>(true)](
                     const CallRequest& request) -> CallOutcome<Value> {
      if (!first->exchange(false)) return {Value(1)};
      abandoned_.Put(request.released);
      return {Fail(CallGivenUp()), AfterCall::kAbandoned};
    };
  }

  void Post(std::function<void()> task) { asio::post(*fake_.io, std::move(task)); }

  // Runs it on the pool's own thread, and returns when it has run.
  void RunThere(std::function<void()> task) {
    auto ran = std::make_shared<std::promise<void>>();
    Post([task = std::move(task), ran] {
      task();
      ran->set_value();
    });
    ASSERT_EQ(ran->get_future().wait_for(kLimit), std::future_status::ready);
  }

  bool Await(const std::function<bool(const PoolStats&)>& condition) {
    return testing::Await([&] { return condition(pool_->Stats()); }, kLimit);
  }

  Result<Value> Call(const CallOptions& options = {}) { return pool_->Execute("c", {}, options); }

  void ExpectServes() {
    auto result = Call();
    EXPECT_TRUE(result) << result.error().ToString();
  }

  FakeTransport fake_;
  PoolOptions options_;
  Handover<Released> abandoned_;
  std::optional<Pool> pool_;
};

}  // namespace snakepit::testing

#endif  // SNAKEPIT_POOL_TESTING_FIXTURE_H_
