#include "src/worker/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

namespace snakepit {
namespace {

TEST(ExecutorTest, RunsAsManyJobsAtATimeAsItMay) {
  constexpr int kJobs = 8;
  std::latch together(kJobs);
  Executor executor(kJobs);
  // Each waits for all: with fewer threads this would never end.
  for (int i = 0; i < kJobs; ++i) {
    EXPECT_TRUE(executor.Submit([&] { together.arrive_and_wait(); }));
  }
  executor.WaitUntilIdle();
  EXPECT_EQ(executor.in_flight(), 0u);
}

TEST(ExecutorTest, RunsNoMoreJobsThanItMayAndInTheirOrder) {
  std::atomic<int> running{0};
  std::vector<int> order;  // of one job at a time
  Executor executor(1);
  for (int i = 0; i < 500; ++i) {
    EXPECT_TRUE(executor.Submit([&, i] {
      EXPECT_EQ(++running, 1);
      order.push_back(i);
      --running;
    }));
  }
  executor.WaitUntilIdle();
  ASSERT_EQ(order.size(), 500u);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(order[i], i);
}

TEST(ExecutorTest, APlaceTakenHereCountsAsAJob) {
  std::atomic<bool> ran{false};
  Executor executor(1);
  ASSERT_TRUE(executor.TryBeginHere());
  EXPECT_FALSE(executor.TryBeginHere());
  EXPECT_TRUE(executor.Submit([&] { ran = true; }));
  // A task is no job.
  std::latch started(1);
  EXPECT_TRUE(executor.Start([&] { started.count_down(); }));
  started.wait();
  EXPECT_FALSE(ran);
  EXPECT_EQ(executor.in_flight(), 2u);
  executor.EndHere();
  executor.WaitUntilIdle();
  EXPECT_TRUE(ran);
  EXPECT_TRUE(executor.TryBeginHere());
  executor.EndHere();
}

TEST(ExecutorTest, RefusesWhatItCannotHold) {
  Executor executor(1);
  ASSERT_TRUE(executor.TryBeginHere());
  for (size_t i = 0; i < kMaxWaitingJobs + 1; ++i) EXPECT_TRUE(executor.Submit([] {}));
  EXPECT_FALSE(executor.Submit([] {}));
  EXPECT_FALSE(executor.WaitUntilIdle(std::chrono::milliseconds(1)));
  executor.EndHere();
  executor.WaitUntilIdle();
}

TEST(ExecutorTest, ManyThreadsMaySubmit) {
  constexpr int kThreads = 4, kJobs = 2000;
  std::atomic<int> ran{0};
  Executor executor(3);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < kJobs;) {
          if (executor.Submit([&] { ++ran; })) ++j;
        }
      });
    }
  }
  executor.WaitUntilIdle();
  EXPECT_EQ(ran, kThreads * kJobs);
}

}  // namespace
}  // namespace snakepit
