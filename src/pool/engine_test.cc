#include "src/pool/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kLimit{20};

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    options_.workers = 1;
    options_.max_starting = 1;
    options_.health.interval = milliseconds(0);
  }
  ~EngineTest() override {
    if (engine_.has_thread()) engine_.End();
  }

  void Begin() {
    engine_.Begin({.apply = [this](const Effect& effect) { apply_(effect); },
                   .settled = [this] { ++settled_; }},
                  [this] { ++faults_; });
  }

  void Add(Engine::Deed deed) {
    const EngineLock lock(engine_);
    engine_.AfterUnlock(std::move(deed));
  }

  PoolOptions options_;
  Engine engine_{options_, /*seed=*/1};
  std::function<void(const Effect&)> apply_ = [](const Effect&) {};
  int settled_ = 0;
  std::atomic<int> faults_ = 0;
};

TEST_F(EngineTest, ADeedRunsAfterTheLockOnTheThreadThatHeldIt) {
  std::thread::id ran_on;
  {
    const EngineLock lock(engine_);
    engine_.AfterUnlock([&] {
      const EngineLock again(engine_);  // would never come with the lock held
      ran_on = std::this_thread::get_id();
    });
    EXPECT_EQ(ran_on, std::thread::id());
  }
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST_F(EngineTest, ADeedThatIsHeldUpHoldsNoOtherThreadUp) {
  std::promise<void> begun, go_on;
  std::vector<std::string> order;
  std::thread held([&] {
    Add([&] {
      begun.set_value();
      go_on.get_future().wait();
      order.emplace_back("first");
    });
  });
  begun.get_future().wait();
  Add([&] { order.emplace_back("second"); });  // left to the thread that is at it
  {
    const EngineLock lock(engine_);
    EXPECT_FALSE(engine_.is_drained());
    EXPECT_TRUE(order.empty());
  }
  go_on.set_value();
  held.join();
  EXPECT_EQ(order, (std::vector<std::string>{"first", "second"}));
  const EngineLock lock(engine_);
  EXPECT_TRUE(engine_.is_drained());
}

TEST_F(EngineTest, DeedsRunInOrderEvenThoseOfDeeds) {
  std::vector<int> order;
  {
    const EngineLock lock(engine_);
    engine_.AfterUnlock([&] {
      order.push_back(1);
      Add([&] { order.push_back(3); });
    });
    engine_.AfterUnlock([] { throw std::runtime_error("dropped"); });
    engine_.AfterUnlock([&] { order.push_back(2); });
  }
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_F(EngineTest, AWaitDrainsTheOutboxFirst) {
  bool ran = false;
  EngineLock lock(engine_);
  engine_.AfterUnlock([&ran] { ran = true; });
  lock.Wait(engine_.changed, [&ran] { return ran; });
  EXPECT_TRUE(ran);
}

TEST_F(EngineTest, AnEffectThatThrowsLosesOnlyItself) {
  std::vector<ProcessNumber> spawned;
  options_.workers = options_.max_starting = 3;
  Engine engine(options_, /*seed=*/1);
  engine.Begin({.apply =
                    [&](const Effect& effect) {
                      const auto* spawn = std::get_if<SpawnWorker>(&effect);
                      if (spawn == nullptr) return;
                      if (spawn->worker_id == 0) throw std::bad_alloc();
                      spawned.push_back(spawn->process);
                    },
                .settled = [] {}},
               [] {});
  {
    const EngineLock lock(engine);
    engine.core().Start(std::chrono::steady_clock::now());
    EXPECT_THROW(engine.Settle(), std::bad_alloc);
    EXPECT_TRUE(spawned.empty());
    engine.Settle();
    EXPECT_EQ(spawned.size(), 2u);
  }
  engine.End();
}

TEST_F(EngineTest, TheThreadOutlivesExceptionsAndEndsAfterItsTasks) {
  Begin();
  std::promise<void> ran;
  engine_.Post([] { throw std::runtime_error("nobody foresaw it"); });
  engine_.Post([&ran] { ran.set_value(); });
  EXPECT_EQ(ran.get_future().wait_for(kLimit), std::future_status::ready);
  EXPECT_EQ(faults_, 1);
  bool last = false;
  engine_.Post([&last] { last = true; });
  engine_.End();
  EXPECT_TRUE(last);
}

TEST_F(EngineTest, TheCoresClockGoesOnByItself) {
  std::promise<void> expired;
  apply_ = [&expired](const Effect& effect) {
    if (std::holds_alternative<EndCall>(effect)) expired.set_value();
  };
  Begin();
  {
    const EngineLock lock(engine_);
    const auto now = std::chrono::steady_clock::now();
    engine_.core().Start(now);
    ASSERT_TRUE(engine_.core().Submit(
        {.session_id = {}, .queue_deadline = now + milliseconds(1), .deadline = now + kLimit},
        now));
    engine_.Settle();
  }
  EXPECT_EQ(expired.get_future().wait_for(kLimit), std::future_status::ready);
}

}  // namespace
}  // namespace snakepit
