// A cancellation that races the end of its call: one outcome, and the worker lives on.
// PROTOCOL.md 6.6.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "snakepit/pool.h"
#include "src/testing/workers.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;
using testing::FixtureKind;

constexpr int kCalls = 10'000;
constexpr int kCapacity = 4;

// Requests a stop at a given time, from a thread of its own.
class Stopper {
 public:
  Stopper() : thread_([this] { Loop(); }) {}
  ~Stopper() {
    {
      std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  void StopAt(steady_clock::time_point time, std::stop_source source) {
    {
      std::lock_guard lock(mutex_);
      source_ = std::move(source);
      time_ = time;
      armed_ = true;
    }
    changed_.notify_one();
  }

 private:
  void Loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return armed_ || ends_; });
      if (ends_) return;
      armed_ = false;
      std::stop_source source = source_;
      const auto time = time_;
      lock.unlock();
      while (steady_clock::now() < time) std::this_thread::yield();
      source.request_stop();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::stop_source source_;
  steady_clock::time_point time_;
  bool armed_ = false;
  bool ends_ = false;
  std::thread thread_;
};

class CancelRaceTest : public ::testing::TestWithParam<FixtureKind> {};

TEST_P(CancelRaceTest, GivesEachCallOneOutcomeAndKeepsTheWorker) {
  auto started =
      Pool::Start({.adapter = testing::FixtureOfKind(GetParam(), kCapacity), .workers = 1});
  ASSERT_TRUE(started) << started.error().ToString() << "\n" << started.error().stderr_tail;
  Pool& pool = *started;
  const pid_t pid = pool.Workers()[0].pid;

  std::atomic<int> results = 0, cancelled = 0, other = 0, wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      Stopper stopper;
      // Follows the duration of a call, so that stops keep falling around its end.
      std::chrono::duration<double, std::micro> delay(50);
      for (int i = 0; i < kCalls / 2; ++i) {
        std::stop_source source;
        const Value args = Value::Map{{"t", t}, {"i", i}};
        const auto jittered = delay * (500 + random() % 1000) / 1000.0;
        stopper.StopAt(
            steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(jittered),
            source);
        const bool as_stream = i % 4 == 0;
        int chunks = 0;
        Result<Value> result = Value();
        if (as_stream) {
          const auto count = pool.ExecuteStream("echo", args,
                                                [&](const Chunk& chunk) {
                                                  ++chunks;
                                                  if (chunk.value != args) ++wrong;
                                                  return true;
                                                },
                                                {.stop = source.get_token()});
          if (count) {
            if (*count != 1 || chunks != 1) ++wrong;
            result = args;
          } else {
            result = Fail(count.error());
          }
        } else {
          result = pool.Execute("echo", args, {.stop = source.get_token()});
        }
        delay *= result ? 0.9 : 1.1;
        if (result) {
          ++results;
          if (*result != args) ++wrong;
        } else if (result.error().code == ErrorCode::kCancelled) {
          ++cancelled;
        } else {
          ++other;
          std::cout << result.error().ToString() << "\n";
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::cout << testing::FixtureKindName(GetParam()) << ": " << results << " results, " << cancelled
            << " cancelled\n";
  EXPECT_EQ(results + cancelled, kCalls);
  EXPECT_EQ(other, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(results, kCalls / 10);
  EXPECT_GT(cancelled, kCalls / 10);
  // Each call was counted once, and the same process serves on at full capacity.
  const Result<Value> last = pool.Execute("pid", {});
  ASSERT_TRUE(last) << last.error().ToString();
  EXPECT_EQ(*last, Value(pid));
  const PoolStats stats = pool.Stats();
  EXPECT_EQ(stats.calls_accepted, stats.calls_succeeded + stats.calls_failed);
  EXPECT_EQ(stats.restarts, 0);
  EXPECT_TRUE(pool.Drain(std::chrono::seconds(10)));
}

INSTANTIATE_TEST_SUITE_P(Fixtures, CancelRaceTest, ::testing::ValuesIn(testing::kFixtureKinds),
                         [](const auto& info) {
                           return std::string(testing::FixtureKindName(info.param));
                         });

}  // namespace
}  // namespace snakepit
