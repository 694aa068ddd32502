// Outcomes of a pool on a scripted transport: each AfterCall, in every order of events.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <asio/post.hpp>
#include <atomic>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "snakepit/pool.h"
#include "src/pool/testing/fixture.h"
#include "src/testing/workers.h"
#include "src/transport/outcome.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using testing::kLimit;

using OutcomesTest = testing::FakePoolTest;
using testing::Handover;
using testing::Released;

// --- Calls that were given up ------------------------------------------------------------------

TEST_F(OutcomesTest, AnAbandonedCallEndsAtOnceAndItsWorkerStaysBusy) {
  AbandonOneCall();
  Begin();
  auto result = Call();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(result.error().may_have_run);
  EXPECT_EQ(result.error().worker_id, 0);
  EXPECT_EQ(pool_->Stats().calls_in_flight, 1);
  EXPECT_EQ(pool_->Stats().calls_failed, 1);

  auto queued = Call({.queue_timeout = milliseconds(10)});
  ASSERT_FALSE(queued);
  EXPECT_EQ(queued.error().code, ErrorCode::kQueueTimeout);
  EXPECT_NE(queued.error().message.find("1 ready (1 in flight, capacity 1)"), std::string::npos)
      << queued.error().message;

  Post([released = abandoned_.Take()] { released(AfterCall::kUsable); });
  ExpectServes();
  EXPECT_EQ(pool_->Stats().calls_in_flight, 0);
  EXPECT_EQ(pool_->Stats().restarts, 0);
}

TEST_F(OutcomesTest, AWorkerThatOverrunsWithAnAbandonedCallIsReplaced) {
  AbandonOneCall();
  Begin();
  const pid_t pid = pool_->Workers()[0].pid;
  EXPECT_FALSE(Call());
  Post([released = abandoned_.Take()] { released(AfterCall::kUnusable); });
  ExpectServes();
  EXPECT_EQ(pool_->Stats().restarts, 1);
  EXPECT_FALSE(testing::IsAlive(pid));
}

// `released` runs while the caller's thread is still within the connection.
TEST_F(OutcomesTest, AnAbandonedCallMayBeReleasedBeforeItsCallerKnows) {
  for (AfterCall after : {AfterCall::kUsable, AfterCall::kUnusable, AfterCall::kLost}) {
    SCOPED_TRACE(static_cast<int>(after));
    bool first = true;
    fake_.call = [&, this](const CallRequest& request) -> CallOutcome<Value> {
      if (!std::exchange(first, false)) return {Value(1)};
      RunThere([released = request.released, after] { released(after); });
      if (after == AfterCall::kLost) {  // the exit has been handled as well
        EXPECT_TRUE(Await([](const PoolStats& stats) { return stats.restarts == 1; }));
      }
      return {Fail(testing::CallGivenUp()), AfterCall::kAbandoned};
    };
    Begin();
    auto result = Call();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kCancelled) << result.error().ToString();
    ExpectServes();
    EXPECT_EQ(pool_->Stats().restarts, after == AfterCall::kUsable ? 0 : 1);
    pool_->Shutdown();
    EXPECT_EQ(pool_->Stats().calls_in_flight, 0);
  }
}

TEST_F(OutcomesTest, AWorkerThatEndsWithAnAbandonedCallIsReplacedAndNobodyIsTold) {
  AbandonOneCall();
  const auto released = std::make_shared<Released>();
  fake_.abort = [this, released] {
    if (*released) Post([r = std::exchange(*released, nullptr)] { r(AfterCall::kLost); });
  };
  Begin();
  EXPECT_FALSE(Call());
  RunThere([&] { *released = abandoned_.Take(); });
  kill(pool_->Workers()[0].pid, SIGKILL);
  auto result = Call();
  EXPECT_TRUE(result) << result.error().ToString();
  const PoolStats stats = pool_->Stats();
  EXPECT_EQ(stats.calls_failed, 1);
  EXPECT_EQ(stats.calls_succeeded, 1);
  EXPECT_EQ(stats.restarts, 1);
}

TEST_F(OutcomesTest, DrainWaitsForCallersAndShutdownForAbandonedCallsToo) {
  AbandonOneCall();
  Begin();
  EXPECT_FALSE(Call());
  EXPECT_TRUE(pool_->Drain(milliseconds(0)));
  Released released = abandoned_.Take();
  std::thread shutdown([this] { pool_->Shutdown(); });
  EXPECT_TRUE(Await([this](const PoolStats&) {
    return pool_->Workers()[0].state == WorkerState::kDraining;
  })) << "it may finish the call, as any other";
  Post([&released] { released(AfterCall::kUsable); });
  shutdown.join();
  EXPECT_EQ(pool_->Stats().calls_in_flight, 0);
}

TEST_F(OutcomesTest, DrainWaitsForTheCallbackOfASubmittedCall) {
  fake_.call_async = [this](const CallRequest&, std::function<void(CallOutcome<Value>)> done) {
    Post([done = std::move(done)] { done({Value(1)}); });
  };
  Begin();
  std::promise<void> begun;
  std::atomic<bool> ended = false;
  pool_->Submit("c", {}, [&](Result<Value>) {
    begun.set_value();
    std::this_thread::sleep_for(milliseconds(50));
    ended = true;
  });
  begun.get_future().wait();
  EXPECT_TRUE(pool_->Drain(kLimit));
  EXPECT_TRUE(ended);
}

TEST_F(OutcomesTest, ASubmittedCallIsAbandonedLikewise) {
  for (AfterCall after : {AfterCall::kUsable, AfterCall::kUnusable, AfterCall::kLost}) {
    SCOPED_TRACE(static_cast<int>(after));
    fake_.call_async = [this](const CallRequest& request,
                              std::function<void(CallOutcome<Value>)> done) {
      Post([done = std::move(done)] {
        done({Fail(testing::CallGivenUp()), AfterCall::kAbandoned});
      });
      abandoned_.Put(request.released);
    };
    Begin();
    std::promise<Result<Value>> ended;
    pool_->Submit("c", {}, [&ended](Result<Value> result) { ended.set_value(std::move(result)); });
    auto result = ended.get_future().get();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(pool_->Stats().calls_in_flight, 1);
    Post([released = abandoned_.Take(), after] { released(after); });
    ExpectServes();
    EXPECT_EQ(pool_->Stats().restarts, after == AfterCall::kUsable ? 0 : 1);
    pool_->Shutdown();
  }
}

TEST_F(OutcomesTest, WhatAChunkCallbackThrowsGivesTheStreamUpAndComesOut) {
  fake_.stream = [this](const CallRequest& request,
                        const ChunkCallback& on_chunk) -> CallOutcome<int64_t> {
    EXPECT_FALSE(on_chunk(Chunk{}));
    abandoned_.Put(request.released);
    return {Fail(StreamGivenUp()), AfterCall::kAbandoned};
  };
  Begin();
  CallInfo info;
  EXPECT_THROW((void)pool_->ExecuteStream(
                   "c", {}, [](const Chunk&) -> bool { throw std::runtime_error("enough"); },
                   {.info = &info}),
               std::runtime_error);
  EXPECT_EQ(info.worker_id, 0);
  EXPECT_EQ(pool_->Stats().calls_failed, 1);
  Post([released = abandoned_.Take()] { released(AfterCall::kUsable); });
  ExpectServes();
  EXPECT_EQ(pool_->Stats().restarts, 0);
}

TEST_F(OutcomesTest, AWorkerWhoseCallThrewIsReplacedReleasedOrNot) {
  enum { kNever, kBefore, kLostBefore, kAfter };
  for (int released : {kNever, kBefore, kLostBefore, kAfter}) {
    SCOPED_TRACE(released);
    bool first = true;
    Released kept;
    fake_.call = [&](const CallRequest& request) -> CallOutcome<Value> {
      if (!std::exchange(first, false)) return {Value(1)};
      kept = request.released;
      if (released == kBefore) RunThere([&kept] { kept(AfterCall::kUsable); });
      if (released == kLostBefore) RunThere([&kept] { kept(AfterCall::kLost); });
      throw std::bad_alloc();
    };
    Begin();
    const auto result = Call();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInternal);
    EXPECT_TRUE(result.error().may_have_run);
    if (released == kAfter) RunThere([&kept] { kept(AfterCall::kUnusable); });
    ExpectServes();
    EXPECT_EQ(pool_->Stats().restarts, released == kBefore ? 0 : 1);
    EXPECT_EQ(pool_->Stats().calls_failed, 1);
    pool_->Shutdown();
  }
}

// --- Stops -------------------------------------------------------------------------------------

// Holds the calls of every worker until it is opened.
class Gate {
 public:
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Pass() {
    std::unique_lock lock(mutex_);
    ++passing_;
    most_ = std::max(most_, passing_);
    changed_.notify_all();
    EXPECT_TRUE(changed_.wait_for(lock, kLimit, [this] { return open_; }));
    --passing_;
  }
  bool AwaitPassing(int calls) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLimit, [this, calls] { return passing_ == calls; });
  }
  int most() {
    std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int passing_ = 0;
  int most_ = 0;
};

TEST_F(OutcomesTest, AQueuedCallThatIsStoppedEndsAtOnceUnexecuted) {
  Gate gate;
  std::atomic<int> executed = 0;
  fake_.call = [&](const CallRequest&) -> CallOutcome<Value> {
    ++executed;
    gate.Pass();
    return {Value(1)};
  };
  Begin();
  std::thread busy([this] { EXPECT_TRUE(Call()); });
  EXPECT_TRUE(gate.AwaitPassing(1));
  std::stop_source source;
  Handover<Result<Value>> ended;
  CallInfo info{.worker_id = 7};
  std::thread queued([&] { ended.Put(Call({.stop = source.get_token(), .info = &info})); });
  EXPECT_TRUE(Await([](const PoolStats& stats) { return stats.calls_queued == 1; }));
  source.request_stop();
  const Result<Value> result = ended.Take();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled) << result.error().ToString();
  EXPECT_FALSE(result.error().may_have_run);
  EXPECT_EQ(result.error().worker_id, -1);
  EXPECT_EQ(info.worker_id, -1);
  EXPECT_EQ(pool_->Stats().calls_queued, 0u);
  gate.Open();
  busy.join();
  queued.join();
  ExpectServes();
  EXPECT_EQ(executed, 2);
  EXPECT_EQ(pool_->Stats().calls_failed, 1);
}

TEST_F(OutcomesTest, AQueuedSubmittedCallThatIsStoppedEndsAtOnceUnexecuted) {
  Gate gate;
  fake_.call = [&](const CallRequest&) -> CallOutcome<Value> {
    gate.Pass();
    return {Value(1)};
  };
  Begin();
  std::thread busy([this] { EXPECT_TRUE(Call()); });
  EXPECT_TRUE(gate.AwaitPassing(1));
  std::stop_source source;
  std::promise<Result<Value>> ended;
  pool_->Submit("c", {}, [&ended](Result<Value> result) { ended.set_value(std::move(result)); },
                {.stop = source.get_token()});
  source.request_stop();
  auto result = ended.get_future().get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled) << result.error().ToString();
  EXPECT_FALSE(result.error().may_have_run);
  gate.Open();
  busy.join();
}

TEST_F(OutcomesTest, ACallThatIsMadeAfterTheStopIsRefused) {
  fake_.call = [](const CallRequest&) -> CallOutcome<Value> {
    ADD_FAILURE() << "it was executed";
    return {Value(1)};
  };
  Begin();
  std::stop_source source;
  source.request_stop();
  auto result = Call({.stop = source.get_token()});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(result.error().may_have_run);
  std::promise<Result<Value>> ended;
  pool_->Submit("c", {}, [&ended](Result<Value> result) { ended.set_value(std::move(result)); },
                {.stop = source.get_token()});
  EXPECT_EQ(ended.get_future().get().error().code, ErrorCode::kCancelled);
  const PoolStats stats = pool_->Stats();
  EXPECT_EQ(stats.calls_refused, 2);
  EXPECT_EQ(stats.calls_accepted, 0);
}

TEST_F(OutcomesTest, TheStopOfACallInFlightIsTheTransports) {
  Gate gate;
  fake_.call = [](const CallRequest& request) -> CallOutcome<Value> {
    std::promise<void> stopped;
    std::stop_callback on_stop(request.stop, [&stopped] { stopped.set_value(); });
    EXPECT_EQ(stopped.get_future().wait_for(kLimit), std::future_status::ready);
    return {Fail(testing::CallGivenUp())};
  };
  Begin();
  std::stop_source source;
  std::thread stopper([&] {
    EXPECT_TRUE(Await([](const PoolStats& stats) { return stats.calls_in_flight == 1; }));
    source.request_stop();
  });
  auto result = Call({.stop = source.get_token()});
  stopper.join();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(result.error().may_have_run);
}

// Stops at every moment of a call's life: while it is submitted, queued, dispatched, ended.
TEST_F(OutcomesTest, AStopAtAnyMomentEndsACallOnceAndBlocksNobody) {
  fake_.call = [](const CallRequest& request) -> CallOutcome<Value> {
    if (request.stop.stop_requested()) return {Fail(testing::CallGivenUp())};
    return {Value(1)};
  };
  fake_.call_async = [this](const CallRequest& request,
                            std::function<void(CallOutcome<Value>)> done) {
    Post([outcome = fake_.call(request), done = std::move(done)] { done(outcome); });
  };
  Begin();
  constexpr int kRounds = 300;
  std::atomic<int> outcomes = 0;
  const auto count = [&outcomes](const Result<Value>& result) {
    EXPECT_TRUE(result || result.error().code == ErrorCode::kCancelled);
    ++outcomes;
  };
  for (int round = 0; round < kRounds; ++round) {
    std::stop_source source;
    std::atomic<int> begun = 0;
    std::vector<std::thread> callers;
    for (int i = 0; i < 2; ++i) {
      callers.emplace_back([&] {
        ++begun;
        count(Call({.stop = source.get_token()}));
      });
    }
    ++begun;
    pool_->Submit("c", {},
                  [&, source](Result<Value> result) mutable {
                    count(result);
                    source.request_stop();
                  },
                  {.stop = source.get_token()});
    while (begun < 1 + round % 3) std::this_thread::yield();
    for (int i = 0; i < round % 7; ++i) std::this_thread::yield();
    source.request_stop();
    for (std::thread& caller : callers) caller.join();
  }
  EXPECT_TRUE(pool_->Drain(kLimit));
  RunThere([] {});  // after the last callback
  EXPECT_EQ(outcomes, 3 * kRounds);
  const PoolStats stats = pool_->Stats();
  EXPECT_EQ(stats.calls_accepted + stats.calls_refused, 3 * kRounds);
  EXPECT_EQ(stats.calls_succeeded + stats.calls_failed, stats.calls_accepted);
}

// --- Capacity, sessions, health ------------------------------------------------------------------

TEST_F(OutcomesTest, AWorkerGetsAsManyCallsAtATimeAsItSaysThatItTakes) {
  Gate gate;
  fake_.agreement = {.version = 2, .capacity = 3};
  fake_.call = [&](const CallRequest&) -> CallOutcome<Value> {
    gate.Pass();
    return {Value(1)};
  };
  options_.cancel_grace = milliseconds(1234);
  Begin();
  EXPECT_EQ(fake_.cancel_grace, milliseconds(1234));
  std::vector<std::thread> callers;
  for (int i = 0; i < 5; ++i) callers.emplace_back([this] { EXPECT_TRUE(Call()); });
  EXPECT_TRUE(gate.AwaitPassing(3));
  EXPECT_TRUE(Await([](const PoolStats& stats) { return stats.calls_queued == 2; }));
  const WorkerInfo worker = pool_->Workers()[0];
  EXPECT_EQ(worker.capacity, 3);
  EXPECT_EQ(worker.protocol_version, 2);
  EXPECT_EQ(worker.calls_in_flight, 3);
  gate.Open();
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(gate.most(), 3);
}

// A connection's I/O runs without the pool's lock.
TEST_F(OutcomesTest, AnAbortThatIsHeldUpHoldsNoCallerUp) {
  std::promise<void> aborting, go_on;
  auto may_go_on = go_on.get_future().share();
  fake_.abort = [&, first = std::make_shared<std::atomic<bool>>(true)] {
    if (!first->exchange(false)) return;
    aborting.set_value();
    EXPECT_EQ(may_go_on.wait_for(kLimit), std::future_status::ready) << "it held a caller up";
  };
  Begin(2);
  kill(pool_->Workers()[0].pid, SIGKILL);
  aborting.get_future().wait();
  EXPECT_EQ(pool_->Stats().workers, 2);
  ExpectServes();
  go_on.set_value();
  EXPECT_TRUE(Await([](const PoolStats& stats) { return stats.crashes == 1; }));
}

TEST_F(OutcomesTest, AWorkerIsAskedHowItIsOnThePoolsOwnThread) {
  std::thread::id asked_on;
  fake_.check_health = [&](SteadyTime, std::function<void(Result<WorkerHealth>)> done) {
    asked_on = std::this_thread::get_id();
    done(WorkerHealth{.healthy = false, .worker_id = "w", .calls_in_flight = 4});
  };
  Begin();
  auto health = pool_->CheckHealth(0);
  ASSERT_TRUE(health) << health.error().ToString();
  EXPECT_FALSE(health->healthy);
  EXPECT_EQ(health->worker_id, "w");
  EXPECT_EQ(health->calls_in_flight, 4);
  EXPECT_EQ(pool_->Stats().restarts, 0);
  std::thread::id own;
  RunThere([&own] { own = std::this_thread::get_id(); });
  EXPECT_EQ(asked_on, own);
}

TEST_F(OutcomesTest, AHealthCheckThatCannotBeMadeSaysWhy) {
  fake_.check_health = [](SteadyTime deadline, std::function<void(Result<WorkerHealth>)> done) {
    EXPECT_LE(deadline, std::chrono::steady_clock::now() + milliseconds(50));
    done(Fail(ErrorCode::kDeadlineExceeded, "no answer"));
  };
  Begin();
  const auto code = [](const Result<WorkerHealth>& health) { return health.error().code; };
  EXPECT_EQ(code(pool_->CheckHealth(1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(pool_->CheckHealth(-1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(pool_->CheckHealth(0, milliseconds(0))), ErrorCode::kInvalidArgument);
  const auto late = pool_->CheckHealth(0, milliseconds(50));
  EXPECT_EQ(code(late), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(late.error().worker_id, 0);
  pool_->Shutdown();
  EXPECT_EQ(code(pool_->CheckHealth(0)), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace snakepit
