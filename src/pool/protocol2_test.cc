// Workers of protocol version 2, the same on both transports. PROTOCOL.md 6.
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "src/base/testing/await.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::Await;

constexpr seconds kLimit{20};

// A worker of the Python SDK. Its handlers report their course on stderr, and so to the pool's log.
constexpr char kWorker[] = R"(
import sys, threading
from snakepit_bridge import Worker

worker = Worker("test", capacity=3)
meeting = threading.Barrier(3)

def say(text):
    print(text, file=sys.stderr, flush=True)

@worker.command("wait")
def wait(context):
    say("began to wait")
    while context.wait(3600):
        pass
    say("was given up")

@worker.command("ignore")
def ignore():
    say("began to ignore")
    threading.Event().wait()

@worker.command("meet")
def meet():
    meeting.wait(20)
    return "met"

@worker.command("count")
def count(context):
    context.session["count"] = context.session.get("count", 0) + 1
    return context.session["count"]

@worker.command("sessions")
def sessions():
    return worker.sessions.count()

@worker.command("numbers")
def numbers():
    number = 0
    while True:
        yield number
        number += 1

worker.main()
)";

class Protocol2Test : public ::testing::TestWithParam<const char*> {
 protected:
  void Begin() {
    options_.workers = 1;
    options_.adapter = testing::PythonWorker(kWorker, GetParam());
    options_.log = log_.sink();
    auto pool = Pool::Start(options_);
    ASSERT_TRUE(pool) << pool.error().ToString() << "\n" << pool.error().stderr_tail;
    pool_ = std::move(*pool);
  }

  bool AwaitIdle() {
    return Await([this] { return pool_->Stats().calls_in_flight == 0; });
  }

  void ExpectServes(int restarts) {
    auto result = pool_->Execute("ping", {});
    EXPECT_TRUE(result) << result.error().ToString() << "\n" << log_.Text();
    EXPECT_EQ(pool_->Stats().restarts, restarts) << log_.Text();
  }

  // Calls the command for the `nth` time, stops the call once its handler has begun, and returns
  // the outcome.
  Result<Value> StopOnceBegun(std::string_view command, int nth = 1) {
    std::stop_source source;
    std::promise<Result<Value>> ended;
    std::thread caller([&] {
      ended.set_value(
          pool_->Execute(command, {}, {.timeout = 2 * kLimit, .stop = source.get_token()}));
    });
    EXPECT_TRUE(log_.WaitFor("began to " + std::string(command), nth)) << log_.Text();
    const auto start = steady_clock::now();
    source.request_stop();
    Result<Value> result = ended.get_future().get();
    EXPECT_LT(steady_clock::now() - start, kLimit) << "it did not end at once";
    caller.join();
    return result;
  }

  static void ExpectCancelled(const Error& error) {
    EXPECT_EQ(error.code, ErrorCode::kCancelled) << error.ToString();
    EXPECT_TRUE(error.may_have_run);
  }

  testing::LogWatcher log_;
  PoolOptions options_;
  std::optional<Pool> pool_;
};

INSTANTIATE_TEST_SUITE_P(Transports, Protocol2Test,
                         ::testing::Values("StdioJson", "StdioMsgpack", "Grpc"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Protocol2Test, AWorkerThatTakesSeveralCallsGetsThemAtOnce) {
  Begin();
  EXPECT_EQ(pool_->Workers()[0].protocol_version, 2);
  EXPECT_EQ(pool_->Workers()[0].capacity, 3);
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([this] {
      auto result = pool_->Execute("meet", {}, {.timeout = kLimit});
      EXPECT_TRUE(result) << result.error().ToString();
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST_P(Protocol2Test, AStoppedCallEndsAtOnceAndItsHandlerIsTold) {
  options_.cancel_grace = kLimit;
  Begin();
  Result<Value> result = StopOnceBegun("wait");
  ASSERT_FALSE(result);
  ExpectCancelled(result.error());
  EXPECT_TRUE(log_.WaitFor("was given up")) << log_.Text();
  EXPECT_TRUE(AwaitIdle());
  ExpectServes(/*restarts=*/0);
}

TEST_P(Protocol2Test, AWorkerThatIgnoresItsCancellationIsReplacedAfterTheGrace) {
  options_.cancel_grace = milliseconds(200);
  Begin();
  const auto start = steady_clock::now();
  Result<Value> result = StopOnceBegun("ignore");
  ASSERT_FALSE(result);
  ExpectCancelled(result.error());
  EXPECT_TRUE(Await([this] { return pool_->Stats().restarts == 1; })) << log_.Text();
  EXPECT_GE(steady_clock::now() - start, options_.cancel_grace);
  ExpectServes(/*restarts=*/1);
}

TEST_P(Protocol2Test, ASubmittedCallIsStoppedLikewise) {
  options_.cancel_grace = kLimit;
  Begin();
  std::stop_source source;
  std::promise<Result<Value>> ended;
  pool_->Submit("wait", {}, [&ended](Result<Value> result) { ended.set_value(std::move(result)); },
                {.stop = source.get_token()});
  EXPECT_TRUE(log_.WaitFor("began to wait")) << log_.Text();
  source.request_stop();
  Result<Value> result = ended.get_future().get();
  ASSERT_FALSE(result);
  ExpectCancelled(result.error());
  EXPECT_TRUE(log_.WaitFor("was given up")) << log_.Text();
  EXPECT_TRUE(AwaitIdle());
  ExpectServes(/*restarts=*/0);
}

TEST_P(Protocol2Test, OtherCallsOfTheWorkerGoOnWhileOneIsGivenUp) {
  options_.cancel_grace = kLimit;
  Begin();
  std::stop_source source;
  std::promise<Result<Value>> ended;
  pool_->Submit("wait", {}, [&ended](Result<Value> result) { ended.set_value(std::move(result)); },
                {.stop = source.get_token()});
  EXPECT_TRUE(log_.WaitFor("began to wait")) << log_.Text();
  Result<Value> second = StopOnceBegun("wait", 2);
  ASSERT_FALSE(second);
  ExpectCancelled(second.error());
  ExpectServes(/*restarts=*/0);
  EXPECT_TRUE(Await([this] { return pool_->Stats().calls_in_flight == 1; }));
  source.request_stop();
  ExpectCancelled(ended.get_future().get().error());
}

TEST_P(Protocol2Test, AStreamThatIsGivenUpLeavesItsWorkerInPlace) {
  options_.cancel_grace = kLimit;
  Begin();
  auto by_callback =
      pool_->ExecuteStream("numbers", {}, [](const Chunk& chunk) { return chunk.index < 100; });
  ASSERT_FALSE(by_callback);
  ExpectCancelled(by_callback.error());
  EXPECT_TRUE(AwaitIdle());

  std::stop_source source;  // from within the callback
  int64_t last = 0;
  auto by_stop = pool_->ExecuteStream("numbers", {},
                                      [&](const Chunk& chunk) {
                                        last = chunk.index;
                                        if (chunk.index == 100) source.request_stop();
                                        return true;
                                      },
                                      {.stop = source.get_token()});
  ASSERT_FALSE(by_stop);
  ExpectCancelled(by_stop.error());
  EXPECT_EQ(last, 100);
  EXPECT_TRUE(AwaitIdle());
  ExpectServes(/*restarts=*/0);
}

TEST_P(Protocol2Test, AWorkerWhoseCallOverranItsDeadlineStaysInPlace) {
  options_.cancel_grace = kLimit;
  Begin();
  auto late = pool_->Execute("wait", {}, {.timeout = milliseconds(200)});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kDeadlineExceeded) << late.error().ToString();
  EXPECT_TRUE(late.error().may_have_run);
  EXPECT_TRUE(AwaitIdle());
  ExpectServes(/*restarts=*/0);
}

TEST_P(Protocol2Test, AWorkerForgetsASessionThatHasEnded) {
  options_.sessions.max_count = 2;
  Begin();
  const auto count = [this](std::string_view session) {
    auto result = pool_->Execute("count", {}, {.session = std::string(session)});
    return result ? result->ToJson() : result.error().ToString();
  };
  const std::string one = count("a");
  EXPECT_NE(one.find('1'), std::string::npos) << one;
  EXPECT_NE(count("a"), one);
  pool_->EndSession("a");
  ASSERT_TRUE(Await([&] {
    auto sessions = pool_->Execute("sessions", {});
    return sessions && sessions->ToJson().find('0') != std::string::npos;
  }));
  EXPECT_EQ(count("a"), one) << "a new session of that name";
  EXPECT_EQ(count("b"), one);
  EXPECT_EQ(count("c"), one);
  ASSERT_TRUE(Await([&] {
    auto sessions = pool_->Execute("sessions", {});
    return sessions && sessions->ToJson().find('2') != std::string::npos;
  })) << "the pool keeps two";
  EXPECT_NE(count("b"), one);
}

TEST_P(Protocol2Test, AWorkerSaysHowItIsWhileAllItsHandlersAreBusy) {
  options_.cancel_grace = kLimit;
  Begin();
  std::stop_source source;
  std::vector<std::promise<Result<Value>>> ended(3);
  for (auto& end : ended) {
    pool_->Submit("wait", {}, [&end](Result<Value> result) { end.set_value(std::move(result)); },
                  {.stop = source.get_token()});
  }
  EXPECT_TRUE(log_.WaitFor("began to wait", 3)) << log_.Text();
  auto health = pool_->CheckHealth(0, kLimit);
  ASSERT_TRUE(health) << health.error().ToString();
  EXPECT_TRUE(health->healthy);
  EXPECT_EQ(health->worker_id, "worker_0");
  EXPECT_EQ(health->calls_in_flight, 3);
  source.request_stop();
  for (auto& end : ended) EXPECT_FALSE(end.get_future().get());
  EXPECT_TRUE(AwaitIdle());
}

}  // namespace
}  // namespace snakepit
