#include "src/base/mutex.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <stop_token>
#include <thread>

namespace snakepit {
namespace {

using Clock = std::chrono::steady_clock;

// One member for each form of lock and wait, so that //ci:locks_test sees each.
class Gate {
 public:
  void Open() {
    const MutexLock lock(mutex_);
    open_ = true;
    changed_.notify_all();
    changed_any_.notify_all();
  }

  bool TryOpen() {
    if (!mutex_.try_lock()) return false;
    open_ = true;
    mutex_.unlock();
    changed_.notify_one();
    return true;
  }

  void Await() {
    MutexLock lock(mutex_);
    while (!IsOpen()) changed_.wait(lock);
  }

  void AwaitByPredicate() {
    MutexLock lock(mutex_);
    changed_.wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_; });
  }

  bool AwaitUntil(Clock::time_point end) {
    MutexLock lock(mutex_);
    return changed_.wait_until(lock, end,
                               [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return IsOpen(); });
  }

  bool AwaitFor(Clock::duration limit) {
    MutexLock lock(mutex_);
    return changed_.wait_for(lock, limit, [this] {
      mutex_.AssertHeld();
      return open_;
    });
  }

  std::cv_status WaitOnce(Clock::time_point end) {
    MutexLock lock(mutex_);
    return changed_.wait_until(lock, end);
  }

  // False if the token asked for an end first.
  bool AwaitOrStop(const std::stop_token& stop) {
    MutexLock lock(mutex_);
    return changed_any_.wait(lock, stop,
                             [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_; });
  }

  template <typename Function>
  void WithLock(Function function) {
    const MutexLock lock(mutex_);
    function();
  }

  // Unlocks around the function.
  template <typename Function>
  void Between(Function function) {
    MutexLock lock(mutex_);
    lock.unlock();
    EXPECT_FALSE(lock.owns_lock());
    function();
    lock.lock();
    EXPECT_TRUE(lock.owns_lock());
    open_ = true;
  }

 private:
  bool IsOpen() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_; }

  Mutex mutex_;
  CondVar changed_;
  std::condition_variable_any changed_any_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
};

TEST(MutexLockTest, KeepsOtherThreadsOutUntilItsEnd) {
  Gate gate;
  gate.WithLock([&gate] { std::jthread([&gate] { EXPECT_FALSE(gate.TryOpen()); }); });
  EXPECT_TRUE(gate.TryOpen());
}

TEST(MutexLockTest, CanBeUnlockedAndLockedAgain) {
  Gate gate;
  gate.Between([&gate] { EXPECT_TRUE(gate.TryOpen()); });
  EXPECT_TRUE(gate.TryOpen());
}

TEST(CondVarTest, EachWaitEndsByANotification) {
  Gate gate;
  const std::jthread plain([&gate] { gate.Await(); });
  const std::jthread predicate([&gate] { gate.AwaitByPredicate(); });
  const std::jthread until([&gate] { EXPECT_TRUE(gate.AwaitUntil(Clock::time_point::max())); });
  const std::jthread limited([&gate] { EXPECT_TRUE(gate.AwaitFor(std::chrono::hours(1))); });
  const std::jthread any([&gate] { EXPECT_TRUE(gate.AwaitOrStop({})); });
  gate.Open();
}

TEST(CondVarTest, AWaitWithALimitTimesOut) {
  Gate gate;
  EXPECT_FALSE(gate.AwaitUntil(Clock::now()));
  EXPECT_FALSE(gate.AwaitFor(std::chrono::milliseconds(1)));
  while (gate.WaitOnce(Clock::now()) != std::cv_status::timeout) {
  }
}

TEST(CondVarTest, AStopTokenEndsAWaitWithAMutexLock) {
  Gate gate;
  std::jthread waiter(
      [&gate](const std::stop_token& stop) { EXPECT_FALSE(gate.AwaitOrStop(stop)); });
  waiter.request_stop();
}

TEST(RecursiveMutexLockTest, ItsHolderLocksAgain) {
  RecursiveMutex mutex;
  int depth = 0;
  const RecursiveMutexLock outer(mutex);
  // A separate function, as a callback is, so that the analysis does not see the outer lock.
  const auto inner = [&mutex, &depth] {
    const RecursiveMutexLock lock(mutex);
    ++depth;
  };
  inner();
  EXPECT_EQ(depth, 1);
}

}  // namespace
}  // namespace snakepit
