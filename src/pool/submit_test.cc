// Asynchronous calls in their three forms, handles that move, and the order of sessions, on a
// scripted transport.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <coroutine>
#include <exception>
#include <functional>
#include <future>
#include <mutex>
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
using testing::Handover;
using testing::kLimit;

class SubmitTest : public testing::FakePoolTest {
 protected:
  SubmitTest() {
    fake_.call_async = [this](const CallRequest& request,
                              std::function<void(CallOutcome<Value>)> done) {
      Record("call of " + std::string(request.session_id));
      if (request.command == "fail") return done({Fail(ErrorCode::kHandlerFailed, "no")});
      done({Value(1)});
    };
  }

  void Record(std::string event) {
    std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  std::vector<std::string> events() {
    std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> events_;
};

// --- The awaitable -----------------------------------------------------------------------------

// A coroutine that nobody awaits. Its frame goes when it ends.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

struct Awaited {
  Result<Value> result;
  std::thread::id thread;
};

Detached AwaitCall(Pool& pool, std::string command, std::function<void(Awaited)> done) {
  Result<Value> result = co_await pool.Submit(command, {});
  done({std::move(result), std::this_thread::get_id()});
}

TEST_F(SubmitTest, ACoroutineGetsTheResultOnThePoolsThread) {
  Begin();
  std::promise<Awaited> awaited;
  AwaitCall(*pool_, "c", [&awaited](Awaited got) { awaited.set_value(std::move(got)); });
  const Awaited got = awaited.get_future().get();
  ASSERT_TRUE(got.result) << got.result.error().ToString();
  EXPECT_EQ(*got.result, Value(1));
  std::thread::id own;
  RunThere([&own] { own = std::this_thread::get_id(); });
  EXPECT_EQ(got.thread, own);
}

TEST_F(SubmitTest, ACoroutineGetsTheErrorOfItsCall) {
  Begin();
  std::promise<Awaited> awaited;
  AwaitCall(*pool_, "fail", [&awaited](Awaited got) { awaited.set_value(std::move(got)); });
  const Awaited got = awaited.get_future().get();
  ASSERT_FALSE(got.result);
  EXPECT_EQ(got.result.error().ToString(), "HANDLER_FAILED: no");
  EXPECT_EQ(got.result.error().worker_id, 0);
}

// The frame, and with it the awaitable, is gone before Submit returns.
TEST_F(SubmitTest, AfterShutdownACoroutineIsRefusedOnItsOwnThread) {
  Begin();
  pool_->Shutdown();
  std::optional<Awaited> awaited;
  auto frame_is_gone = std::make_shared<int>();
  AwaitCall(*pool_, "c",
            [&awaited, kept = frame_is_gone](Awaited got) { awaited = std::move(got); });
  ASSERT_TRUE(awaited);
  EXPECT_EQ(awaited->thread, std::this_thread::get_id());
  EXPECT_EQ(awaited->result.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(frame_is_gone.use_count(), 1);
}

// --- The future --------------------------------------------------------------------------------

TEST_F(SubmitTest, AFutureGetsTheResultOrTheRefusal) {
  Begin();
  const auto result = pool_->SubmitFuture("c", {}).get();
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(*result, Value(1));
  EXPECT_EQ(pool_->SubmitFuture("", {}).get().error().code, ErrorCode::kInvalidArgument);
  pool_->Shutdown();
  auto refused = pool_->SubmitFuture("c", {});
  ASSERT_EQ(refused.wait_for(milliseconds(0)), std::future_status::ready);
  EXPECT_EQ(refused.get().error().code, ErrorCode::kUnavailable);
}

// --- Streams -----------------------------------------------------------------------------------

class SubmitStreamTest : public SubmitTest {
 protected:
  SubmitStreamTest() {
    fake_.stream_async = [this](const CallRequest& request, ChunkCallback on_chunk,
                                std::function<void(CallOutcome<int64_t>)> done) {
      Record("stream of " + std::string(request.session_id));
      for (int64_t index = 0; index < 3; ++index) {
        if (on_chunk({.value = Value(index), .index = index})) continue;
        return done({Fail(StreamGivenUp()), AfterCall::kUsable});
      }
      done({3});
    };
  }

  // The outcome of a stream with this callback. Its end is recorded.
  Result<int64_t> Stream(ChunkCallback on_chunk, const CallOptions& options = {}) {
    std::promise<Result<int64_t>> ended;
    pool_->SubmitStream(
        "c", {}, std::move(on_chunk),
        [&](Result<int64_t> result) {
          Record("done");
          ended.set_value(std::move(result));
        },
        options);
    return ended.get_future().get();
  }
};

TEST_F(SubmitStreamTest, ChunksComeInOrderAndThenTheirNumber) {
  Begin();
  CallInfo info;
  const auto result = Stream(
      [this](const Chunk& chunk) {
        Record("chunk " + std::to_string(chunk.index) + ": " + chunk.value.ToJson());
        return true;
      },
      {.session = "s", .info = &info});
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(*result, 3);
  EXPECT_EQ(events(), (std::vector<std::string>{"stream of s", "chunk 0: 0", "chunk 1: 1",
                                                "chunk 2: 2", "done"}));
  EXPECT_EQ(info.worker_id, 0);
  EXPECT_EQ(pool_->Stats().sessions, 1u);
}

TEST_F(SubmitStreamTest, AFalseCallbackGivesTheStreamUp) {
  Begin();
  int chunks = 0;
  const auto result = Stream([&chunks](const Chunk&) { return ++chunks < 2; });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(chunks, 2);
}

TEST_F(SubmitStreamTest, AnExceptionOfTheCallbackIsLoggedAndGivesItUp) {
  testing::LogWatcher log;
  options_.log = log.sink();
  Begin();
  const auto result = Stream([](const Chunk&) -> bool { throw std::runtime_error("enough"); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(log.WaitFor("the chunk callback of a stream threw enough")) << log.Text();
  ExpectServes();
  pool_.reset();  // it logs until its end
}

TEST_F(SubmitStreamTest, AStreamHasTheTimeLimitOfStreams) {
  options_.stream_timeout = std::chrono::hours(5);
  SteadyTime deadline;
  fake_.stream_async = [&deadline](const CallRequest& request, const ChunkCallback&,
                                   const auto& done) {
    deadline = request.deadline;
    done({0});
  };
  Begin();
  EXPECT_TRUE(Stream(nullptr));
  EXPECT_GT(deadline, std::chrono::steady_clock::now() + std::chrono::hours(4));
}

TEST_F(SubmitStreamTest, AQueuedStreamThatIsStoppedIsNeverBegun) {
  std::promise<void> begun, go_on;
  fake_.call = [&](const CallRequest&) -> CallOutcome<Value> {
    begun.set_value();
    go_on.get_future().wait();
    return {Value(1)};
  };
  Begin();
  auto busy = std::async([this] { return Call(); });
  begun.get_future().wait();
  std::stop_source source;
  std::promise<Result<int64_t>> ended;
  pool_->SubmitStream(
      "c", {}, [](const Chunk&) { return true; },
      [&ended](Result<int64_t> result) { ended.set_value(std::move(result)); },
      {.stop = source.get_token()});
  source.request_stop();
  EXPECT_EQ(ended.get_future().get().error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(events().empty());
  go_on.set_value();
  EXPECT_TRUE(busy.get());
}

// --- Moves -------------------------------------------------------------------------------------

TEST_F(SubmitTest, APoolServesOnAfterItsHandleHasMoved) {
  Begin();
  auto first = std::make_optional<Pool>(std::move(*pool_));
  const pid_t pid = first->Workers()[0].pid;
  Pool second(std::move(*first));
  first.reset();
  EXPECT_TRUE(second.Execute("c", {}));
  EXPECT_EQ(second.Workers()[0].pid, pid);
  pool_.reset();
  EXPECT_TRUE(second.Execute("c", {}));
}

TEST_F(SubmitTest, AMoveAssignmentShutsTheOldPoolDown) {
  Begin();
  const pid_t old_worker = pool_->Workers()[0].pid;
  auto other = PoolStarter::Start(options_, fake_.launches());
  ASSERT_TRUE(other) << other.error().ToString();
  const pid_t new_worker = other->Workers()[0].pid;
  *pool_ = std::move(*other);
  EXPECT_FALSE(testing::IsAlive(old_worker));
  EXPECT_EQ(pool_->Workers()[0].pid, new_worker);
  ExpectServes();
  *pool_ = std::move(*pool_);
  ExpectServes();
}

// --- Sessions ----------------------------------------------------------------------------------

TEST_F(SubmitTest, ASessionsEndReachesItsWorkerBeforeANewOneBegins) {
  std::mutex mutex;
  std::vector<std::string> events;
  const auto record = [&](std::string event) {
    std::lock_guard lock(mutex);
    events.push_back(std::move(event));
  };
  fake_.agreement = {.version = 2, .session = true};
  fake_.call = [&](const CallRequest& request) -> CallOutcome<Value> {
    record("call of " + std::string(request.session_id));
    return {Value(1)};
  };
  fake_.end_session = [&](const std::string& session_id) { record("end of " + session_id); };
  Begin();
  EXPECT_TRUE(pool_->Execute("c", {}, {.session = "s"}));
  pool_->EndSession("s");
  EXPECT_EQ(pool_->Stats().sessions, 0u);
  EXPECT_TRUE(pool_->Execute("c", {}, {.session = "s"}));
  EXPECT_EQ(events, (std::vector<std::string>{"call of s", "end of s", "call of s"}));
}

TEST_F(SubmitTest, ACallThatWaitsForTheEndOfAnEarlierSessionCanBeGivenUp) {
  std::promise<void> told;
  std::shared_future<void> may_return = told.get_future().share();
  fake_.agreement = {.version = 2, .session = true};
  fake_.call = [](const CallRequest& request) -> CallOutcome<Value> {
    if (request.stop.stop_requested()) return {Fail(NotBegun()), AfterCall::kUsable};
    return {Value(1)};
  };
  fake_.end_session = [may_return](const std::string&) { may_return.wait(); };
  Begin();
  EXPECT_TRUE(pool_->Execute("c", {}, {.session = "s"}));
  pool_->EndSession("s");
  std::stop_source source;
  auto second = std::async([&] {
    return pool_->Execute("c", {},
                          {.session = "s", .timeout = 2 * kLimit, .stop = source.get_token()});
  });
  EXPECT_TRUE(Await([](const PoolStats& stats) { return stats.calls_in_flight == 1; }));
  source.request_stop();
  EXPECT_EQ(second.wait_for(kLimit), std::future_status::ready);
  told.set_value();
  EXPECT_EQ(second.get().error().code, ErrorCode::kCancelled);
}

TEST_F(SubmitTest, AWorkerWithoutSessionsIsToldNothingOfTheirEnd) {
  fake_.end_session = [](const std::string&) { ADD_FAILURE(); };
  Begin();
  EXPECT_TRUE(pool_->Execute("c", {}, {.session = "s"}));
  pool_->EndSession("s");
  pool_->Shutdown();
}

TEST_F(SubmitTest, ASubmittedCallKeepsToTheWorkerOfItsSession) {
  fake_.agreement = {.version = 2, .session = true};
  Begin(3);
  CallInfo first, second;
  EXPECT_TRUE(pool_->SubmitFuture("c", {}, {.session = "s", .info = &first}).get());
  for (int other = 0; other < 5; ++other) EXPECT_TRUE(pool_->SubmitFuture("c", {}).get());
  EXPECT_TRUE(pool_->Execute("c", {}, {.session = "s", .info = &second}));
  EXPECT_EQ(first.worker_pid, second.worker_pid);
  EXPECT_EQ(events().front(), "call of s");
  EXPECT_EQ(pool_->Stats().sessions, 1u);
}

TEST_F(SubmitTest, TheEndOfASessionAndItsSubmittedCallsKeepTheirOrder) {
  fake_.agreement = {.version = 2, .session = true};
  fake_.end_session = [this](const std::string& session_id) { Record("end of " + session_id); };
  Begin();
  auto first = pool_->SubmitFuture("c", {}, {.session = "s"});
  pool_->EndSession("s");
  auto second = pool_->SubmitFuture("c", {}, {.session = "s"});
  EXPECT_TRUE(first.get());
  EXPECT_TRUE(second.get());
  EXPECT_EQ(events(), (std::vector<std::string>{"call of s", "end of s", "call of s"}));
}

TEST_F(SubmitTest, ASubmittedCallThatWaitsForTheEndOfASessionCanBeGivenUp) {
  std::promise<void> ending, go_on;
  fake_.agreement = {.version = 2, .session = true};
  fake_.end_session = [&](const std::string&) {
    ending.set_value();
    go_on.get_future().wait();
  };
  Begin();
  EXPECT_TRUE(pool_->SubmitFuture("c", {}, {.session = "s"}).get());
  pool_->EndSession("s");
  fake_.call_async = [](const CallRequest& request, auto done) {
    EXPECT_TRUE(request.stop.stop_requested());
    done({Fail(NotBegun()), AfterCall::kUnsent});
  };
  std::stop_source source;
  ending.get_future().wait();
  auto second = pool_->SubmitFuture("c", {}, {.session = "s", .stop = source.get_token()});
  EXPECT_TRUE(Await([](const PoolStats& stats) { return stats.calls_in_flight == 1; }));
  source.request_stop();
  go_on.set_value();
  EXPECT_EQ(second.get().error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace snakepit
