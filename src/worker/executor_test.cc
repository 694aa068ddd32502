#include "src/worker/executor.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include "src/base/testing/await.h"

namespace snakepit {
namespace {

constexpr auto kTaken = Executor::Outcome::kTaken;

// Lets the system give no thread: none has room for such a stack.
class NoThreads {
 public:
  NoThreads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t attributes = before_;
    pthread_attr_setstacksize(&attributes, size_t{1} << 47);
    pthread_setattr_default_np(&attributes);
  }
  ~NoThreads() { pthread_setattr_default_np(&before_); }

 private:
  pthread_attr_t before_;
};

TEST(ExecutorTest, RunsAsManyJobsAtATimeAsItMay) {
  constexpr int kJobs = 8;
  std::latch together(kJobs);
  Executor executor(kJobs);
  // Each waits for all: with fewer threads this would never end.
  for (int i = 0; i < kJobs; ++i) {
    EXPECT_EQ(executor.Submit([&] { together.arrive_and_wait(); }), kTaken);
  }
  executor.WaitUntilIdle();
  EXPECT_EQ(executor.in_flight(), 0u);
}

TEST(ExecutorTest, RunsNoMoreJobsThanItMayAndInTheirOrder) {
  std::atomic<int> running{0};
  std::vector<int> order;  // one job at a time writes it
  Executor executor(1);
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(executor.Submit([&, i] {
      EXPECT_EQ(++running, 1);
      order.push_back(i);
      --running;
    }),
              kTaken);
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
  EXPECT_EQ(executor.Submit([&] { ran = true; }), kTaken);
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
  for (size_t i = 0; i < kMaxWaitingJobs + 1; ++i) EXPECT_EQ(executor.Submit([] {}), kTaken);
  EXPECT_EQ(executor.Submit([] {}), Executor::Outcome::kFull);
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
          if (executor.Submit([&] { ++ran; }) == kTaken) ++j;
        }
      });
    }
  }
  executor.WaitUntilIdle();
  EXPECT_EQ(ran, kThreads * kJobs);
}

TEST(ExecutorTest, ThreadsThatAreIdleEndAllButOne) {
  constexpr int kJobs = 8;
  Executor executor(kJobs, std::chrono::milliseconds(1));
  for (int round = 0; round < 3; ++round) {
    std::latch together(kJobs);
    for (int i = 0; i < kJobs; ++i) {
      EXPECT_EQ(executor.Submit([&] { together.arrive_and_wait(); }), kTaken);
    }
    executor.WaitUntilIdle();
    ASSERT_TRUE(testing::Await([&] { return executor.threads() == 1; }))
        << executor.threads() << " threads";
  }
}

TEST(ExecutorTest, WithoutAThreadAJobIsRefusedByName) {
  const NoThreads none;
  Executor executor(2);
  EXPECT_EQ(executor.Submit([] {}), Executor::Outcome::kNoThread);
  EXPECT_FALSE(executor.Start([] {}));
  EXPECT_EQ(executor.in_flight(), 0u);
  EXPECT_NE(DescribeRefusal(Executor::Outcome::kNoThread, 2).find("no thread"), std::string::npos);
}

TEST(ExecutorTest, WithoutAThreadJobsThatWaitAreRunHere) {
  const NoThreads none;
  Executor executor(1);
  ASSERT_TRUE(executor.TryBeginHere());
  std::vector<std::thread::id> ran_on;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(executor.Submit([&] { ran_on.push_back(std::this_thread::get_id()); }), kTaken);
  }
  EXPECT_TRUE(ran_on.empty());
  executor.EndHere();
  EXPECT_EQ(ran_on, std::vector<std::thread::id>(3, std::this_thread::get_id()));
  EXPECT_EQ(executor.in_flight(), 0u);
}

// With room for another, which there is no thread for.
TEST(ExecutorTest, WithoutAThreadAJobIsTakenByWhoeverRunsOneHere) {
  const NoThreads none;
  Executor executor(2);
  ASSERT_TRUE(executor.TryBeginHere());
  bool ran = false;
  EXPECT_EQ(executor.Submit([&] { ran = true; }), kTaken);
  EXPECT_FALSE(ran);
  executor.EndHere();
  EXPECT_TRUE(ran);
}

TEST(ExecutorTest, WithoutAThreadAJobIsTakenByOneThatIsOnItsWay) {
  for (int i = 0; i < 50; ++i) {
    std::latch end(1);
    std::atomic<bool> ran{false};
    Executor executor(3);
    ASSERT_EQ(executor.Submit([&] { end.wait(); }), kTaken);
    {
      const NoThreads none;
      EXPECT_EQ(executor.Submit([&] { ran = true; }), kTaken);
    }
    end.count_down();
    executor.WaitUntilIdle();
    EXPECT_TRUE(ran);
  }
}

}  // namespace
}  // namespace snakepit
