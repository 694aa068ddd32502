// Exceptions on the pool's own thread: from the transport, from callbacks, from unforeseen faults.
#include <gtest/gtest.h>
#include <pthread.h>

#include <asio/post.hpp>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/testing/await.h"
#include "src/pool/pool_starter.h"
#include "src/pool/testing/fake_transport.h"

namespace snakepit {
namespace {

constexpr std::chrono::seconds kLimit{20};

class ThrownTest : public ::testing::Test {
 protected:
  ThrownTest() {
    fake_.call = [](const CallRequest&) { return CallOutcome<Value>{Value(1)}; };
    options_.adapter.argv = {"fake"};
    options_.workers = 1;
    options_.log = [this](LogLevel level, std::string_view text) {
      if (level == LogLevel::kError) errors_.emplace_back(text);
    };
  }

  void Begin() {
    auto pool = PoolStarter::Start(options_, fake_.launches());
    ASSERT_TRUE(pool) << pool.error().ToString();
    pool_ = std::move(*pool);
  }

  std::future<Result<Value>> Submit() {
    auto ended = std::make_shared<std::promise<Result<Value>>>();
    pool_->Submit("c", {}, [ended](Result<Value> result) { ended->set_value(std::move(result)); });
    return ended->get_future();
  }

  void ExpectServes() {
    const auto result = pool_->Execute("c", {});
    EXPECT_TRUE(result) << result.error().ToString();
  }

  testing::FakeTransport fake_;
  PoolOptions options_;
  std::vector<std::string> errors_;  // only used on the pool's own thread, and after its end
  std::optional<Pool> pool_;
};

TEST_F(ThrownTest, AnAsynchronousCallThatThrewEndsAndItsWorkerIsReplaced) {
  fake_.call_async = [](const CallRequest&, const auto&) { throw std::bad_alloc(); };
  Begin();
  const auto result = Submit().get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInternal);
  EXPECT_TRUE(result.error().may_have_run);
  EXPECT_EQ(result.error().worker_id, 0);
  ExpectServes();
  EXPECT_EQ(pool_->Stats().restarts, 1);
}

TEST_F(ThrownTest, WhatTheCallbackOfACallThrowsIsLogged) {
  fake_.call_async = [](const CallRequest&, const auto& done) { done({Value(1)}); };
  Begin();
  pool_->Submit("c", {}, [](Result<Value>) { throw std::runtime_error("enough"); });
  pool_->Submit("", {}, [](Result<Value>) { throw 1; });  // a refusal
  pool_->Submit("c", {}, nullptr);
  EXPECT_TRUE(pool_->Drain(kLimit));
  EXPECT_EQ(pool_->Stats().restarts, 0);
  EXPECT_EQ(pool_->Stats().calls_succeeded, 2);
  pool_->Shutdown();
  EXPECT_EQ(errors_,
            (std::vector<std::string>{"the callback of a call threw enough",
                                      "the callback of a call threw what is no std::exception"}));
  pool_->Submit("c", {}, [](Result<Value>) { throw 1; });  // on this thread
  EXPECT_EQ(errors_.size(), 3u);
}

TEST_F(ThrownTest, WhatTheLogThrowsIsDropped) {
  std::atomic<int> lines = 0;
  options_.log = [&lines](LogLevel, std::string_view) {
    ++lines;
    throw std::runtime_error("the log is full");
  };
  Begin();
  ExpectServes();
  pool_->Shutdown();
  EXPECT_GT(lines, 0);
}

TEST_F(ThrownTest, AFaultOfThePoolsOwnThreadEndsEachCallAndNotTheProgram) {
  std::function<void(CallOutcome<Value>)> end_call;  // only used on the pool's own thread
  fake_.call_async = [&end_call](const CallRequest&, const auto& done) { end_call = done; };
  fake_.abort = [this, &end_call] {
    asio::post(*fake_.io, [&end_call] {
      const auto end = std::exchange(end_call, nullptr);
      if (end) end({Fail(ErrorCode::kWorkerLost, "it is gone"), AfterCall::kLost});
    });
  };
  Begin();
  auto ended = Submit();
  asio::post(*fake_.io, [] { throw std::runtime_error("not foreseen"); });
  const auto result = ended.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kWorkerLost);
  ExpectServes();
  pool_->Shutdown();
  EXPECT_EQ(errors_,
            std::vector<std::string>{"the pool's own thread threw not foreseen: a fault of "
                                     "the pool; every worker is replaced"});
}

// --- The end of a thread within a call ----------------------------------------------------------

// Runs it on a thread of its own, which may end itself or be cancelled.
class Thread {
 public:
  explicit Thread(std::function<void()> body) : body_(std::move(body)) {
    EXPECT_EQ(pthread_create(
                  &thread_, nullptr,
                  [](void* self) -> void* {
                    static_cast<Thread*>(self)->body_();
                    return nullptr;
                  },
                  this),
              0);
  }
  void Cancel() { EXPECT_EQ(pthread_cancel(thread_), 0); }
  void Join() { EXPECT_EQ(pthread_join(thread_, nullptr), 0); }

 private:
  const std::function<void()> body_;
  pthread_t thread_;
};

TEST_F(ThrownTest, AThreadMayEndWithinItsExchange) {
  bool ends = true;
  fake_.call = [&ends](const CallRequest&) {
    if (std::exchange(ends, false)) pthread_exit(nullptr);
    return CallOutcome<Value>{Value(1)};
  };
  Begin();
  Thread thread([this] { (void)pool_->Execute("c", {}); });
  thread.Join();
  EXPECT_TRUE(pool_->Drain(kLimit)) << "the call is left";
  EXPECT_EQ(pool_->Stats().calls_failed, 1);
}

TEST_F(ThrownTest, AThreadMayBeCancelledWhileItsCallIsQueued) {
  std::promise<void> began, goes_on;
  fake_.call = [&](const CallRequest&) {
    began.set_value();
    goes_on.get_future().wait();
    return CallOutcome<Value>{Value(1)};
  };
  Begin();
  Thread busy([this] { (void)pool_->Execute("c", {}); });
  began.get_future().wait();
  const std::stop_source stop;
  Thread queued([&] { (void)pool_->Execute("c", {}, {.stop = stop.get_token()}); });
  EXPECT_TRUE(testing::Await([this] { return pool_->Stats().calls_queued > 0; }));
  queued.Cancel();
  queued.Join();
  EXPECT_EQ(pool_->Stats().calls_queued, 0u);
  goes_on.set_value();
  busy.Join();
  EXPECT_TRUE(pool_->Drain(kLimit)) << "the call is left";
}

}  // namespace
}  // namespace snakepit
